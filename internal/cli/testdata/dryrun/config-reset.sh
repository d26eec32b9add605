# Removing config file <home>/.kwok/kwok.yaml
rm <home>/.kwok/kwok.yaml
