kill $(cat <home>/.kwok/clusters/x/pids/kwok-controller.pid)
rm <home>/.kwok/clusters/x/pids/kwok-controller.pid
kill $(cat <home>/.kwok/clusters/x/pids/kube-scheduler.pid)
rm <home>/.kwok/clusters/x/pids/kube-scheduler.pid
kill $(cat <home>/.kwok/clusters/x/pids/kube-controller-manager.pid)
rm <home>/.kwok/clusters/x/pids/kube-controller-manager.pid
# Replay <home>/state.yaml to cluster x
cd <home>/.kwok/clusters/x && \
  GOGC=off \
  kube-controller-manager \
  --authentication-kubeconfig=config/kube-controller-manager.kubeconfig \
  --authorization-kubeconfig=config/kube-controller-manager.kubeconfig \
  --bind-address=127.0.0.1 \
  --secure-port=26257 \
  --tls-cert-file=pki/kube-controller-manager-serving.crt \
  --tls-private-key-file=pki/kube-controller-manager-serving.key \
  --authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics \
  --kubeconfig=config/kube-controller-manager.kubeconfig \
  --leader-elect=false \
  --kube-api-qps=5000 \
  --kube-api-burst=10000 \
  --node-monitor-period=5s \
  --node-monitor-grace-period=40s \
  --root-ca-file=pki/ca.crt \
  --service-account-private-key-file=pki/sa.key \
  --use-service-account-credentials=true \
  --controllers='*,-ttl-controller' \
  --feature-gates=WatchListClient=false \
  ><home>/.kwok/clusters/x/logs/kube-controller-manager.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/kube-controller-manager.pid
cd <home>/.kwok/clusters/x && \
  GOGC=off \
  kube-scheduler \
  --authentication-kubeconfig=config/kube-scheduler.kubeconfig \
  --authorization-kubeconfig=config/kube-scheduler.kubeconfig \
  --bind-address=127.0.0.1 \
  --secure-port=26259 \
  --tls-cert-file=pki/kube-scheduler-serving.crt \
  --tls-private-key-file=pki/kube-scheduler-serving.key \
  --authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics \
  --kubeconfig=config/kube-scheduler.kubeconfig \
  --leader-elect=false \
  --kube-api-qps=5000 \
  --kube-api-burst=10000 \
  --feature-gates=WatchListClient=false \
  ><home>/.kwok/clusters/x/logs/kube-scheduler.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/kube-scheduler.pid
cd <home>/.kwok/clusters/x && \
  GOGC=off \
  KWOK_WORKDIR=. \
  kwok-controller \
  --manage-all-nodes=true \
  --kubeconfig=config/kwok-controller.kubeconfig \
  --config=kwok.yaml \
  --node-ip= \
  --node-name=localhost \
  --node-port=26247 \
  --server-address=127.0.0.1:26247 \
  --tls-cert-file=pki/kwok-controller-serving.crt \
  --tls-private-key-file=pki/kwok-controller-serving.key \
  --node-lease-duration-seconds=40 \
  ><home>/.kwok/clusters/x/logs/kwok-controller.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/kwok-controller.pid
