# Tidy the config file
cat <<EOF ><home>/.kwok/kwok.yaml
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokctlConfiguration
EOF
