cd <home>/.kwok/clusters/x && \
  GOGC=off \
  etcd \
  --name=node0 \
  --data-dir=etcd \
  --auto-compaction-retention=1 \
  --quota-backend-bytes=8589934592 \
  --heartbeat-interval=20 \
  --election-timeout=100 \
  --listen-peer-urls=unix://etcd:1 \
  --initial-advertise-peer-urls=unix://etcd:1 \
  --initial-cluster=node0=unix://etcd:1 \
  --advertise-client-urls=unix://etcd:0 \
  --listen-client-urls=unix://etcd:0 \
  ><home>/.kwok/clusters/x/logs/etcd.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/etcd.pid
