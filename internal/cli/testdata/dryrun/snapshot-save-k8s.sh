# Save objects of cluster x to /tmp/state.yaml
