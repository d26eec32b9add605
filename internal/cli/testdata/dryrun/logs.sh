tail -n +1 -f <home>/.kwok/clusters/x/logs/etcd.log
