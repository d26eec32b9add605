# Record objects of the cluster in <home>/.kube/config to /tmp/run.yaml, and then every change
