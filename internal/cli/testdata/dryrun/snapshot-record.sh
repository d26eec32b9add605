# Record objects of the cluster in <home>/.kwok/clusters/x/kubeconfig.yaml to /tmp/run.yaml, and then every change
