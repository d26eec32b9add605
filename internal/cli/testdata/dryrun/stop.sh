kill $(cat <home>/.kwok/clusters/x/pids/kwok-controller.pid)
rm <home>/.kwok/clusters/x/pids/kwok-controller.pid
kill $(cat <home>/.kwok/clusters/x/pids/kube-scheduler.pid)
rm <home>/.kwok/clusters/x/pids/kube-scheduler.pid
kill $(cat <home>/.kwok/clusters/x/pids/kube-controller-manager.pid)
rm <home>/.kwok/clusters/x/pids/kube-controller-manager.pid
kill $(cat <home>/.kwok/clusters/x/pids/kube-apiserver.pid)
rm <home>/.kwok/clusters/x/pids/kube-apiserver.pid
kill $(cat <home>/.kwok/clusters/x/pids/etcd.pid)
rm <home>/.kwok/clusters/x/pids/etcd.pid
