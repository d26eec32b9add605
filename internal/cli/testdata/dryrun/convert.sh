# Converting <home>/conf.yaml
