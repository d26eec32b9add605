// Package kustomize holds the YAML that we ship: stages first of all.
package kustomize

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed stage/*/*/*.yaml
var stages embed.FS

// Stages returns the YAML of a stage set, such as "pod/fast", by file name.
func Stages(set string) (map[string][]byte, error) {
	dir := "stage/" + set
	files, err := stages.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, f := range files {
		if f.IsDir() || f.Name() == "kustomization.yaml" {
			continue
		}
		text, err := stages.ReadFile(dir + "/" + f.Name())
		if err != nil {
			return nil, err
		}
		out[f.Name()] = text
	}
	return out, nil
}

// StageSets returns the names of the stage sets, in order.
func StageSets() ([]string, error) {
	dirs, err := fs.Glob(stages, "stage/*/*")
	if err != nil {
		return nil, err
	}
	for i, d := range dirs {
		dirs[i] = strings.TrimPrefix(d, "stage/")
	}
	return dirs, nil
}
