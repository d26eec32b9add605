podman \
  cp \
  <home>/.kwok/clusters/p/. \
  kwok-p-etcd:/cluster
podman \
  start \
  kwok-p-etcd
podman \
  start \
  kwok-p-kube-apiserver
podman \
  start \
  kwok-p-kube-controller-manager
podman \
  start \
  kwok-p-kube-scheduler
podman \
  start \
  kwok-p-kwok-controller
# Set up manifest for kwok-controller
