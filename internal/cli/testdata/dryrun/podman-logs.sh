podman \
  logs \
  --follow \
  kwok-p-etcd
