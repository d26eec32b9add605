etcdctl \
  --endpoints=unix://<home>/.kwok/clusters/x/etcd:0 \
  get \
  /
