package components

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// SchedulerFile is where the scheduler finds the user's configuration, in the cluster directory.
const SchedulerFile = "scheduler.yaml"

// SchedulerConfig puts into the user's configuration what a flag would say otherwise: the scheduler does not look at
// those flags when it has a file. What the user says stays, but for the way to the API server. That the text is a
// KubeSchedulerConfiguration was checked.
func SchedulerConfig(text []byte) ([]byte, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("read scheduler configuration: %w", err)
	}
	connection := section(doc, "clientConnection")
	connection["kubeconfig"] = configPath("kube-scheduler")
	setUnset(connection, "qps", clientQPS)
	setUnset(connection, "burst", clientBurst)
	setUnset(section(doc, "leaderElection"), "leaderElect", false)
	return yaml.Marshal(doc)
}

// section returns the map of a key, made if missing.
func section(doc map[string]any, key string) map[string]any {
	m, ok := doc[key].(map[string]any)
	if !ok {
		m = map[string]any{}
		doc[key] = m
	}
	return m
}

func setUnset(m map[string]any, key string, value any) {
	if _, ok := m[key]; !ok {
		m[key] = value
	}
}
