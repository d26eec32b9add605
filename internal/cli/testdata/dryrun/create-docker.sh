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
  - --bind-address=0.0.0.0
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
  live: https://kube-apiserver:26443/livez
  name: kube-apiserver
  ports:
  - hostPort: 26443
    name: https
    port: 26443
    protocol: TCP
  ready: https://kube-apiserver:26443/readyz
- args:
  - --authentication-kubeconfig=config/kube-controller-manager.kubeconfig
  - --authorization-kubeconfig=config/kube-controller-manager.kubeconfig
  - --bind-address=0.0.0.0
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
  live: https://kube-controller-manager:26257/healthz
  name: kube-controller-manager
  ports:
  - hostPort: 26257
    name: https
    port: 26257
    protocol: TCP
  ready: https://kube-controller-manager:26257/healthz
- args:
  - --authentication-kubeconfig=config/kube-scheduler.kubeconfig
  - --authorization-kubeconfig=config/kube-scheduler.kubeconfig
  - --bind-address=0.0.0.0
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
  live: https://kube-scheduler:26259/livez
  name: kube-scheduler
  ports:
  - hostPort: 26259
    name: https
    port: 26259
    protocol: TCP
  ready: https://kube-scheduler:26259/readyz
- args:
  - --manage-all-nodes=true
  - --kubeconfig=config/kwok-controller.kubeconfig
  - --config=kwok.yaml
  - --node-ip=
  - --node-name=kwok-controller
  - --node-port=26247
  - --server-address=0.0.0.0:26247
  - --tls-cert-file=pki/kwok-controller-serving.crt
  - --tls-private-key-file=pki/kwok-controller-serving.key
  - --node-lease-duration-seconds=200
  links:
  - kube-apiserver
  live: http://kwok-controller:26247/livez
  name: kwok-controller
  ports:
  - hostPort: 26247
    name: http
    port: 26247
    protocol: TCP
  ready: http://kwok-controller:26247/readyz
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
  runtime: docker
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
    server: https://kube-apiserver:26443
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
    server: https://kube-apiserver:26443
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
    server: https://kube-apiserver:26443
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
# Load image localhost/kwokctl, made of this binary
docker \
  network \
  create \
  --label=kwok.x-k8s.io/cluster=x \
  kwok-x
docker \
  volume \
  create \
  --label=kwok.x-k8s.io/cluster=x \
  kwok-x
docker \
  volume \
  create \
  --label=kwok.x-k8s.io/cluster=x \
  kwok-x-etcd-data
docker \
  create \
  --name=kwok-x-etcd \
  --network=kwok-x \
  --network-alias=etcd \
  --restart=unless-stopped \
  --label=kwok.x-k8s.io/cluster=x \
  --label=com.docker.compose.project=kwok-x \
  --read-only \
  --cap-drop=ALL \
  --security-opt=no-new-privileges \
  --dns-option=timeout:1 \
  --dns-option=attempts:5 \
  --volume=kwok-x:/cluster \
  --volume=kwok-x-etcd-data:/cluster/etcd \
  --env=GOGC=off \
  --entrypoint=/bin/etcd \
  localhost/kwokctl \
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
  --listen-client-urls=unix://etcd:0
docker \
  create \
  --name=kwok-x-kube-apiserver \
  --network=kwok-x \
  --network-alias=kube-apiserver \
  --restart=unless-stopped \
  --label=kwok.x-k8s.io/cluster=x \
  --label=com.docker.compose.project=kwok-x \
  --read-only \
  --cap-drop=ALL \
  --security-opt=no-new-privileges \
  --dns-option=timeout:1 \
  --dns-option=attempts:5 \
  --volume=kwok-x:/cluster \
  --publish=127.0.0.1:26443:26443/tcp \
  --env=GOGC=off \
  --entrypoint=/bin/kube-apiserver \
  localhost/kwokctl \
  --etcd-prefix=/registry \
  --etcd-servers=unix://etcd:0 \
  --allow-privileged=true \
  --endpoint-reconciler-type=none \
  --bind-address=0.0.0.0 \
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
  --feature-gates=WatchListClient=false
docker \
  create \
  --name=kwok-x-kube-controller-manager \
  --network=kwok-x \
  --network-alias=kube-controller-manager \
  --restart=unless-stopped \
  --label=kwok.x-k8s.io/cluster=x \
  --label=com.docker.compose.project=kwok-x \
  --read-only \
  --cap-drop=ALL \
  --security-opt=no-new-privileges \
  --dns-option=timeout:1 \
  --dns-option=attempts:5 \
  --volume=kwok-x:/cluster \
  --publish=127.0.0.1:26257:26257/tcp \
  --env=GOGC=off \
  --entrypoint=/bin/kube-controller-manager \
  localhost/kwokctl \
  --authentication-kubeconfig=config/kube-controller-manager.kubeconfig \
  --authorization-kubeconfig=config/kube-controller-manager.kubeconfig \
  --bind-address=0.0.0.0 \
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
  --feature-gates=WatchListClient=false
docker \
  create \
  --name=kwok-x-kube-scheduler \
  --network=kwok-x \
  --network-alias=kube-scheduler \
  --restart=unless-stopped \
  --label=kwok.x-k8s.io/cluster=x \
  --label=com.docker.compose.project=kwok-x \
  --read-only \
  --cap-drop=ALL \
  --security-opt=no-new-privileges \
  --dns-option=timeout:1 \
  --dns-option=attempts:5 \
  --volume=kwok-x:/cluster \
  --publish=127.0.0.1:26259:26259/tcp \
  --env=GOGC=off \
  --entrypoint=/bin/kube-scheduler \
  localhost/kwokctl \
  --authentication-kubeconfig=config/kube-scheduler.kubeconfig \
  --authorization-kubeconfig=config/kube-scheduler.kubeconfig \
  --bind-address=0.0.0.0 \
  --secure-port=26259 \
  --tls-cert-file=pki/kube-scheduler-serving.crt \
  --tls-private-key-file=pki/kube-scheduler-serving.key \
  --authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics \
  --kubeconfig=config/kube-scheduler.kubeconfig \
  --leader-elect=false \
  --kube-api-qps=5000 \
  --kube-api-burst=10000 \
  --feature-gates=WatchListClient=false
docker \
  create \
  --name=kwok-x-kwok-controller \
  --network=kwok-x \
  --network-alias=kwok-controller \
  --restart=unless-stopped \
  --label=kwok.x-k8s.io/cluster=x \
  --label=com.docker.compose.project=kwok-x \
  --read-only \
  --cap-drop=ALL \
  --security-opt=no-new-privileges \
  --dns-option=timeout:1 \
  --dns-option=attempts:5 \
  --volume=kwok-x:/cluster \
  --publish=127.0.0.1:26247:26247/tcp \
  --env=GOGC=off \
  --env=KWOK_WORKDIR=. \
  --entrypoint=/bin/kwok-controller \
  localhost/kwokctl \
  --manage-all-nodes=true \
  --kubeconfig=config/kwok-controller.kubeconfig \
  --config=kwok.yaml \
  --node-ip= \
  --node-name=kwok-controller \
  --node-port=26247 \
  --server-address=0.0.0.0:26247 \
  --tls-cert-file=pki/kwok-controller-serving.crt \
  --tls-private-key-file=pki/kwok-controller-serving.key \
  --node-lease-duration-seconds=200
docker \
  cp \
  <home>/.kwok/clusters/x/. \
  kwok-x-etcd:/cluster
docker \
  start \
  kwok-x-etcd
docker \
  start \
  kwok-x-kube-apiserver
docker \
  start \
  kwok-x-kube-controller-manager
docker \
  start \
  kwok-x-kube-scheduler
docker \
  start \
  kwok-x-kwok-controller
# Set up manifest for kwok-controller
# Add context kwok-x to <home>/.kube/config
