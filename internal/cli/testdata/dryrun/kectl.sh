kectl \
  --endpoints=unix://<home>/.kwok/clusters/x/etcd:0 \
  --prefix=/registry \
  get \
  no
