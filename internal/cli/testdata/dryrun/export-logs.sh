mkdir -p /tmp/logs/x/components
cp <home>/.kwok/clusters/x/logs/etcd.log /tmp/logs/x/components/etcd.log
cp <home>/.kwok/clusters/x/logs/kube-apiserver.log /tmp/logs/x/components/kube-apiserver.log
cp <home>/.kwok/clusters/x/logs/kube-controller-manager.log /tmp/logs/x/components/kube-controller-manager.log
cp <home>/.kwok/clusters/x/logs/kube-scheduler.log /tmp/logs/x/components/kube-scheduler.log
cp <home>/.kwok/clusters/x/logs/kwok-controller.log /tmp/logs/x/components/kwok-controller.log
cp <home>/.kwok/clusters/x/kwok.yaml /tmp/logs/x/kwok.yaml
