kubectl \
  --kubeconfig=<home>/.kwok/clusters/x/kubeconfig.yaml \
  get \
  pods \
  -c \
  app \
  -l \
  'a!=b'
