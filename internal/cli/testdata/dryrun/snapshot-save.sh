etcdctl \
  --endpoints=unix://<home>/.kwok/clusters/x/etcd:0 \
  snapshot \
  save \
  /tmp/state.db
