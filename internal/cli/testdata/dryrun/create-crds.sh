mkdir -p <home>/.kwok/clusters/x <home>/.kwok/clusters/x/config <home>/.kwok/clusters/x/logs <home>/.kwok/clusters/x/pids
# Save cluster config to <home>/.kwok/clusters/x/kwok.yaml
cat <<EOF ><home>/.kwok/clusters/x/kwok.yaml
apiVersion: config.kwok.x-k8s.io/v1alpha1
components:
- args:
  - --name=node0
  - --data-dir=etcd
  - --auto-compaction-retention=1
  - --quota-backend-bytes=8589934592
  - --heartbeat-interval=20
  - --election-timeout=100
  - --listen-peer-urls=unix://etcd:1
  - --initial-advertise-peer-urls=unix://etcd:1
  - --initial-cluster=node0=unix://etcd:1
  - --advertise-client-urls=unix://etcd:0
  - --listen-client-urls=unix://etcd:0
  live: unix://etcd:0/livez
  name: etcd
  ready: unix://etcd:0/readyz
- args:
  - --etcd-prefix=/registry
  - --etcd-servers=unix://etcd:0
  - --allow-privileged=true
  - --endpoint-reconciler-type=none
  - --bind-address=127.0.0.1
  - --advertise-address=127.0.0.1
  - --secure-port=26443
  - --service-cluster-ip-range=10.96.0.0/12
  - --tls-cert-file=pki/kube-apiserver.crt
  - --tls-private-key-file=pki/kube-apiserver.key
  - --client-ca-file=pki/ca.crt
  - --kubelet-client-certificate=pki/apiserver-kubelet-client.crt
  - --kubelet-client-key=pki/apiserver-kubelet-client.key
  - --kubelet-certificate-authority=pki/ca.crt
  - --service-account-key-file=pki/sa.pub
  - --service-account-signing-key-file=pki/sa.key
  - --service-account-issuer=https://kubernetes.default.svc.cluster.local
  - --proxy-client-cert-file=pki/front-proxy-client.crt
  - --proxy-client-key-file=pki/front-proxy-client.key
  - --requestheader-client-ca-file=pki/front-proxy-ca.crt
  - --requestheader-allowed-names=front-proxy-client
  - --requestheader-username-headers=X-Remote-User
  - --requestheader-group-headers=X-Remote-Group
  - --requestheader-extra-headers-prefix=X-Remote-Extra-
  - --authorization-mode=Node,RBAC
  - --disable-admission-plugins=TaintNodesByCondition
  - --shutdown-watch-termination-grace-period=500ms
  - --feature-gates=WatchListClient=false
  links:
  - etcd
  live: https://127.0.0.1:26443/livez
  name: kube-apiserver
  ports:
  - hostPort: 26443
    name: https
    port: 26443
    protocol: TCP
  ready: https://127.0.0.1:26443/readyz
- args:
  - --authentication-kubeconfig=config/kube-controller-manager.kubeconfig
  - --authorization-kubeconfig=config/kube-controller-manager.kubeconfig
  - --bind-address=127.0.0.1
  - --secure-port=26257
  - --tls-cert-file=pki/kube-controller-manager-serving.crt
  - --tls-private-key-file=pki/kube-controller-manager-serving.key
  - --authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics
  - --kubeconfig=config/kube-controller-manager.kubeconfig
  - --leader-elect=false
  - --kube-api-qps=5000
  - --kube-api-burst=10000
  - --node-monitor-period=25s
  - --node-monitor-grace-period=3m20s
  - --root-ca-file=pki/ca.crt
  - --service-account-private-key-file=pki/sa.key
  - --use-service-account-credentials=true
  - --controllers=*,-ttl-controller
  - --feature-gates=WatchListClient=false
  links:
  - kube-apiserver
  live: https://127.0.0.1:26257/healthz
  name: kube-controller-manager
  ports:
  - hostPort: 26257
    name: https
    port: 26257
    protocol: TCP
  ready: https://127.0.0.1:26257/healthz
- args:
  - --authentication-kubeconfig=config/kube-scheduler.kubeconfig
  - --authorization-kubeconfig=config/kube-scheduler.kubeconfig
  - --bind-address=127.0.0.1
  - --secure-port=26259
  - --tls-cert-file=pki/kube-scheduler-serving.crt
  - --tls-private-key-file=pki/kube-scheduler-serving.key
  - --authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics
  - --kubeconfig=config/kube-scheduler.kubeconfig
  - --leader-elect=false
  - --kube-api-qps=5000
  - --kube-api-burst=10000
  - --feature-gates=WatchListClient=false
  links:
  - kube-apiserver
  live: https://127.0.0.1:26259/livez
  name: kube-scheduler
  ports:
  - hostPort: 26259
    name: https
    port: 26259
    protocol: TCP
  ready: https://127.0.0.1:26259/readyz
- args:
  - --manage-all-nodes=true
  - --kubeconfig=config/kwok-controller.kubeconfig
  - --config=kwok.yaml
  - --node-ip=
  - --node-name=localhost
  - --node-port=26247
  - --server-address=127.0.0.1:26247
  - --tls-cert-file=pki/kwok-controller-serving.crt
  - --tls-private-key-file=pki/kwok-controller-serving.key
  - --node-lease-duration-seconds=200
  - --enable-crds=Stage,Metric
  links:
  - kube-apiserver
  live: http://127.0.0.1:26247/livez
  name: kwok-controller
  ports:
  - hostPort: 26247
    name: http
    port: 26247
    protocol: TCP
  ready: http://127.0.0.1:26247/readyz
kind: KwokctlConfiguration
metadata:
  name: x
options:
  components:
  - etcd
  - kube-apiserver
  - kube-controller-manager
  - kube-scheduler
  - kwok-controller
  enableCRDs:
  - Stage
  - Metric
  etcdPrefix: /registry
  etcdQuotaBackendSize: 8Gi
  heartbeatFactor: 1
  kubeAdmission: true
  kubeApiserverPort: 26443
  kubeAuthorization: true
  kubeControllerManagerNodeMonitorGracePeriodMilliseconds: 200000
  kubeControllerManagerNodeMonitorPeriodMilliseconds: 25000
  kubeControllerManagerPort: 26257
  kubeSchedulerPort: 26259
  kwokControllerPort: 26247
  nodeLeaseDurationSeconds: 200
  nodeStatusUpdateFrequencyMilliseconds: 50000
  securePort: true
status:
  kubeconfig: <home>/.kube/config
  version: 1.2.3
EOF
# Generate PKI to <home>/.kwok/clusters/x/pki
cat <<EOF ><home>/.kwok/clusters/x/config/kube-controller-manager.kubeconfig
apiVersion: v1
kind: Config
current-context: default
clusters:
- name: default
  cluster:
    server: https://127.0.0.1:26443
    certificate-authority: ../pki/ca.crt
contexts:
- name: default
  context:
    cluster: default
    user: kube-controller-manager
users:
- name: kube-controller-manager
  user:
    client-certificate: ../pki/kube-controller-manager.crt
    client-key: ../pki/kube-controller-manager.key
EOF
cat <<EOF ><home>/.kwok/clusters/x/config/kube-scheduler.kubeconfig
apiVersion: v1
kind: Config
current-context: default
clusters:
- name: default
  cluster:
    server: https://127.0.0.1:26443
    certificate-authority: ../pki/ca.crt
contexts:
- name: default
  context:
    cluster: default
    user: kube-scheduler
users:
- name: kube-scheduler
  user:
    client-certificate: ../pki/kube-scheduler.crt
    client-key: ../pki/kube-scheduler.key
EOF
cat <<EOF ><home>/.kwok/clusters/x/config/kwok-controller.kubeconfig
apiVersion: v1
kind: Config
current-context: default
clusters:
- name: default
  cluster:
    server: https://127.0.0.1:26443
    certificate-authority: ../pki/ca.crt
contexts:
- name: default
  context:
    cluster: default
    user: kwok-controller
users:
- name: kwok-controller
  user:
    client-certificate: ../pki/kwok-controller.crt
    client-key: ../pki/kwok-controller.key
EOF
# Save kubeconfig to <home>/.kwok/clusters/x/kubeconfig.yaml
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
cd <home>/.kwok/clusters/x && \
  GOGC=off \
  kube-apiserver \
  --etcd-prefix=/registry \
  --etcd-servers=unix://etcd:0 \
  --allow-privileged=true \
  --endpoint-reconciler-type=none \
  --bind-address=127.0.0.1 \
  --advertise-address=127.0.0.1 \
  --secure-port=26443 \
  --service-cluster-ip-range=10.96.0.0/12 \
  --tls-cert-file=pki/kube-apiserver.crt \
  --tls-private-key-file=pki/kube-apiserver.key \
  --client-ca-file=pki/ca.crt \
  --kubelet-client-certificate=pki/apiserver-kubelet-client.crt \
  --kubelet-client-key=pki/apiserver-kubelet-client.key \
  --kubelet-certificate-authority=pki/ca.crt \
  --service-account-key-file=pki/sa.pub \
  --service-account-signing-key-file=pki/sa.key \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --proxy-client-cert-file=pki/front-proxy-client.crt \
  --proxy-client-key-file=pki/front-proxy-client.key \
  --requestheader-client-ca-file=pki/front-proxy-ca.crt \
  --requestheader-allowed-names=front-proxy-client \
  --requestheader-username-headers=X-Remote-User \
  --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --authorization-mode=Node,RBAC \
  --disable-admission-plugins=TaintNodesByCondition \
  --shutdown-watch-termination-grace-period=500ms \
  --feature-gates=WatchListClient=false \
  ><home>/.kwok/clusters/x/logs/kube-apiserver.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/kube-apiserver.pid
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
  --node-monitor-period=25s \
  --node-monitor-grace-period=3m20s \
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
  --node-lease-duration-seconds=200 \
  --enable-crds=Stage,Metric \
  ><home>/.kwok/clusters/x/logs/kwok-controller.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/kwok-controller.pid
# Init CRDs Stage,Metric
# Set up manifest for kwok-controller
# Add context kwok-x to <home>/.kube/config
