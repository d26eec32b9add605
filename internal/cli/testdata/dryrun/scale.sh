# Scale resource node to 7 replicas
