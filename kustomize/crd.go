package kustomize

import (
	"bytes"
	"embed"
)

//go:embed crd/kwok.x-k8s.io_*.yaml
var crds embed.FS

// CRD returns the CustomResourceDefinition of one of our kinds, such as Stage, as YAML; false if it has none.
func CRD(kind string) ([]byte, bool) {
	files, err := crds.ReadDir("crd")
	if err != nil {
		return nil, false // not with files that are part of the binary
	}
	for _, f := range files {
		text, err := crds.ReadFile("crd/" + f.Name())
		if err == nil && bytes.Contains(text, []byte("\n    kind: "+kind+"\n")) {
			return text, true
		}
	}
	return nil, false
}
