package kustomize

import "embed"

//go:embed scale
var scaled embed.FS

// ScaleResources returns the YAML of the built-in kinds of kwokctl scale, by kind.
func ScaleResources() (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, kind := range []string{"node", "pod"} {
		text, err := scaled.ReadFile("scale/" + kind + ".yaml")
		if err != nil {
			return nil, err
		}
		all[kind] = text
	}
	return all, nil
}
