package components

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// What stands in kept manifests for the port of webhooks, with its quotes, and for their authority: both are made later.
const (
	webhookPort = `"${webhook-port}"`
	webhookCA   = `${webhook-ca}`
)

// Files of the cluster directory with what was given for a manager: its objects, and its configuration.
func givenObjects(name string) string { return "manifests/" + name + ".yaml" }
func givenConfig(name string) string  { return "manifests/" + name + ".config.yaml" }

// Adapt takes out of the manifests of a manager what runs it in a real cluster, and makes the API server find its
// webhooks. It returns files for the cluster directory: the objects that are left and the manager's configuration.
func Adapt(name string, text []byte) ([]File, error) {
	i := slices.IndexFunc(managers(), func(m manager) bool { return m.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no component %s that comes with manifests", name)
	}
	m := managers()[i]
	a := adapter{manager: m}
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = a.add(doc)
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %s", n, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	switch {
	case a.objects.Len() == 0:
		return nil, errors.New("no objects of Kubernetes in them")
	case m.config != "" && a.config == nil:
		return nil, fmt.Errorf("no ConfigMap with %s in them", m.config)
	}
	all := []File{{Path: givenObjects(name), Data: a.objects.Bytes()}}
	if a.config != nil {
		all = append(all, File{Path: givenConfig(name), Data: a.config})
	}
	return all, nil
}

// adapter gathers what is left of manifests.
type adapter struct {
	manager
	objects bytes.Buffer
	config  []byte
}

// add takes one document; a list is its items.
func (a *adapter) add(doc []byte) error {
	var value any
	if err := yaml.Unmarshal(doc, &value); err != nil || value == nil {
		return err
	}
	o, ok := value.(map[string]any)
	if !ok {
		return errors.New("it is no object of Kubernetes")
	}
	return a.object(o)
}

func (a *adapter) object(o map[string]any) error {
	if items, ok := o["items"].([]any); ok {
		for _, item := range items {
			object, _ := item.(map[string]any)
			if err := a.object(object); err != nil {
				return err
			}
		}
		return nil
	}
	kind, _ := o["kind"].(string)
	version, _ := o["apiVersion"].(string)
	if kind == "" || version == "" {
		return errors.New("it has no kind or no apiVersion")
	}
	meta := section(o, "metadata")
	if kind == "ConfigMap" && a.manager.config != "" {
		if text, ok := section(o, "data")[a.manager.config].(string); ok {
			return a.configure(text)
		}
	}
	if foreign(kind, version) {
		return nil
	}
	if slices.Contains([]string{"Role", "RoleBinding", "ServiceAccount", "ConfigMap"}, kind) {
		setUnset(meta, "namespace", a.namespace)
	}
	redirect(o)
	text, err := json.Marshal(o)
	if err == nil {
		fmt.Fprintf(&a.objects, "---\n%s\n", text)
	}
	return err
}

// configure takes the manager's configuration, which must be YAML of an object.
func (a *adapter) configure(text string) error {
	var config map[string]any
	err := yaml.Unmarshal([]byte(text), &config)
	if err == nil && config == nil {
		err = errors.New("it is empty")
	}
	if err != nil {
		return fmt.Errorf("%s in a ConfigMap: %w", a.manager.config, err)
	}
	a.config = []byte(text)
	return nil
}

// foreign tells what is not applied: what would run the manager, what leads to its pods, what is made here, and what
// is for operators that may not be there.
func foreign(kind, version string) bool {
	group, _, _ := strings.Cut(version, "/")
	switch kind {
	case "Deployment", "DaemonSet", "StatefulSet", "Job", "CronJob", "Service", "Secret", "APIService":
		return true // the only APIService is of kueue's visibility, which is off
	}
	return group == "cert-manager.io" || group == "monitoring.coreos.com"
}

// redirect makes whatever calls webhooks find and trust them.
func redirect(value any) {
	switch v := value.(type) {
	case map[string]any:
		if client, ok := v["clientConfig"].(map[string]any); ok {
			if service, ok := client["service"].(map[string]any); ok {
				service["port"], client["caBundle"] = strings.Trim(webhookPort, `"`), webhookCA
			}
		}
		for _, below := range v {
			redirect(below)
		}
	case []any:
		for _, below := range v {
			redirect(below)
		}
	}
}
