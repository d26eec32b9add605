# Export objects of the cluster in <home>/.kube/config to /tmp/state.yaml
