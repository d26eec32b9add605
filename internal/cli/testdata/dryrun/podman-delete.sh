podman \
  stop \
  kwok-p-kwok-controller
podman \
  stop \
  kwok-p-kube-scheduler
podman \
  stop \
  kwok-p-kube-controller-manager
podman \
  stop \
  kwok-p-kube-apiserver
podman \
  stop \
  kwok-p-etcd
# Remove context kwok-p from <home>/.kube/config
podman \
  rm \
  --force \
  kwok-p-etcd
podman \
  volume \
  rm \
  kwok-p-etcd-data
podman \
  rm \
  --force \
  kwok-p-kube-apiserver
podman \
  rm \
  --force \
  kwok-p-kube-controller-manager
podman \
  rm \
  --force \
  kwok-p-kube-scheduler
podman \
  rm \
  --force \
  kwok-p-kwok-controller
podman \
  network \
  rm \
  kwok-p
podman \
  volume \
  rm \
  kwok-p
rm -rf <home>/.kwok/clusters/p
