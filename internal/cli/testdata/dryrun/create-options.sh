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
  - --election-timeout=100
  - --listen-peer-urls=unix://etcd:1
  - --initial-advertise-peer-urls=unix://etcd:1
  - --initial-cluster=node0=unix://etcd:1
  - --advertise-client-urls=unix://etcd:0
  - --cert-file=pki/etcd-server.crt
  - --key-file=pki/etcd-server.key
  - --trusted-ca-file=pki/etcd-ca.crt
  - --client-cert-auth=true
  - --listen-client-urls=unix://etcd:0,https://127.0.0.1:26379
  - --log-level=debug
  - --heartbeat-interval=50
  live: unix://etcd:0/livez
  name: etcd
  ports:
  - hostPort: 26379
    name: client
    port: 26379
    protocol: TCP
  ready: unix://etcd:0/readyz
- args:
  - --etcd-prefix=/mine
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
  - --admission-control=
  - --audit-policy-file=config/audit.yaml
  - --audit-log-path=logs/audit.log
  - --audit-log-maxsize=100
  - --audit-log-maxbackup=4
  - --shutdown-watch-termination-grace-period=500ms
  - --feature-gates=WatchListClient=false
  - --v=4
  - --v=2
  - --profiling
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
  - --kubeconfig=kubeconfig.yaml
  - --port=26080
  links:
  - kube-apiserver
  live: http://127.0.0.1:26080/version
  name: kube-apiserver-insecure-proxy
  ports:
  - hostPort: 26080
    name: http
    port: 26080
    protocol: TCP
  ready: http://127.0.0.1:26080/readyz
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
  - --v=4
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
  - --config=scheduler.yaml
  - --feature-gates=WatchListClient=false
  - --v=4
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
- command:
  - /bin/sh
  - -c
  - echo 'hello' $HOME
  links:
  - kube-scheduler
  name: helper
componentsPatches:
- extraArgs:
  - key: log-level
    value: debug
  name: etcd
- extraArgs:
  - key: v
    value: "4"
  name: kube-apiserver
- extraArgs:
  - key: v
    value: "4"
  name: kube-controller-manager
- extraArgs:
  - key: v
    value: "4"
  name: kube-scheduler
- extraArgs:
  - key: v
    value: "2"
  - key: etcd-prefix
    override: true
    value: /mine
  - key: profiling
  extraEnvs:
  - name: A
    value: b c
  name: kube-apiserver
kind: KwokctlConfiguration
metadata:
  name: x
options:
  audit: true
  components:
  - etcd
  - kube-apiserver
  - kube-controller-manager
  - kube-scheduler
  - kwok-controller
  disable:
  - kwok-controller
  enableCRDs:
  - Metric
  etcdPort: 26379
  etcdPrefix: /registry
  etcdQuotaBackendSize: 8Gi
  extraArgs:
  - etcd=heartbeat-interval=50
  heartbeatFactor: 1
  kubeAdmission: false
  kubeApiserverInsecurePort: 26080
  kubeApiserverPort: 26443
  kubeAuthorization: true
  kubeControllerManagerNodeMonitorGracePeriodMilliseconds: 200000
  kubeControllerManagerNodeMonitorPeriodMilliseconds: 25000
  kubeControllerManagerPort: 26257
  kubeSchedulerConfig: <home>/scheduler.yaml
  kubeSchedulerPort: 26259
  kwokControllerPort: 26247
  nodeLeaseDurationSeconds: 200
  nodeStatusUpdateFrequencyMilliseconds: 50000
  securePort: true
status:
  version: 1.2.3
---
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokctlResource
metadata:
  name: node
parameters:
  a: 1
template: 'kind: Node'
EOF
cat <<EOF ><home>/.kwok/clusters/x/config/audit.yaml
# What kwokctl create cluster --audit logs: who asked for what, when, and what became of it. Of what an administrator
# changes, also the object as it was sent; of what may hold secrets, and of the steady small talk, never that.
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None # the health checks of the supervisor
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
- level: None # a node's heartbeat is all that is in it
  verbs: [get, update, patch]
  resources: [{group: coordination.k8s.io, resources: [leases]}]
  namespaces: [kube-node-lease]
- level: Metadata
  resources:
  - {group: "", resources: [secrets, configmaps, serviceaccounts/token, events]}
  - {group: authentication.k8s.io, resources: [tokenreviews]}
  - {group: certificates.k8s.io, resources: [certificatesigningrequests]}
  - {group: coordination.k8s.io, resources: [leases]}
  - {group: events.k8s.io, resources: [events]}
- level: Metadata # the server itself, which belongs to the group of administrators too
  users: ["system:apiserver"]
- level: Request
  userGroups: ["system:masters"]
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
EOF
cat <<EOF ><home>/.kwok/clusters/x/scheduler.yaml
apiVersion: kubescheduler.config.k8s.io/v1
clientConnection:
  burst: 10000
  kubeconfig: config/kube-scheduler.kubeconfig
  qps: 5000
kind: KubeSchedulerConfiguration
leaderElection:
  leaderElect: false
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
# Save kubeconfig to <home>/.kwok/clusters/x/kubeconfig.yaml
cd <home>/.kwok/clusters/x && \
  GOGC=off \
  etcd \
  --name=node0 \
  --data-dir=etcd \
  --auto-compaction-retention=1 \
  --quota-backend-bytes=8589934592 \
  --election-timeout=100 \
  --listen-peer-urls=unix://etcd:1 \
  --initial-advertise-peer-urls=unix://etcd:1 \
  --initial-cluster=node0=unix://etcd:1 \
  --advertise-client-urls=unix://etcd:0 \
  --cert-file=pki/etcd-server.crt \
  --key-file=pki/etcd-server.key \
  --trusted-ca-file=pki/etcd-ca.crt \
  --client-cert-auth=true \
  --listen-client-urls=unix://etcd:0,https://127.0.0.1:26379 \
  --log-level=debug \
  --heartbeat-interval=50 \
  ><home>/.kwok/clusters/x/logs/etcd.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/etcd.pid
cd <home>/.kwok/clusters/x && \
  GOGC=off \
  'A=b c' \
  kube-apiserver \
  --etcd-prefix=/mine \
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
  --admission-control= \
  --audit-policy-file=config/audit.yaml \
  --audit-log-path=logs/audit.log \
  --audit-log-maxsize=100 \
  --audit-log-maxbackup=4 \
  --shutdown-watch-termination-grace-period=500ms \
  --feature-gates=WatchListClient=false \
  --v=4 \
  --v=2 \
  --profiling \
  ><home>/.kwok/clusters/x/logs/kube-apiserver.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/kube-apiserver.pid
cd <home>/.kwok/clusters/x && \
  GOGC=off \
  kube-apiserver-insecure-proxy \
  --kubeconfig=kubeconfig.yaml \
  --port=26080 \
  ><home>/.kwok/clusters/x/logs/kube-apiserver-insecure-proxy.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/kube-apiserver-insecure-proxy.pid
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
  --v=4 \
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
  --config=scheduler.yaml \
  --feature-gates=WatchListClient=false \
  --v=4 \
  ><home>/.kwok/clusters/x/logs/kube-scheduler.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/kube-scheduler.pid
cd <home>/.kwok/clusters/x && \
  /bin/sh \
  -c \
  'echo '\''hello'\'' $HOME' \
  ><home>/.kwok/clusters/x/logs/helper.log \
  2>&1 \
  &
echo $! ><home>/.kwok/clusters/x/pids/helper.pid
# Init CRDs Metric
