# Restore objects of <home>/state.yaml to cluster x
