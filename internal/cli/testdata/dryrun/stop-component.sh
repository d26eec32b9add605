kill $(cat <home>/.kwok/clusters/x/pids/kube-scheduler.pid)
rm <home>/.kwok/clusters/x/pids/kube-scheduler.pid
