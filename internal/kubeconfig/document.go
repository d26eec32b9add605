package kubeconfig

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"
	k8syaml "sigs.k8s.io/yaml"
)

// document is a kubeconfig as a tree of YAML nodes, so that comments, order and fields unknown to us survive.
type document struct {
	node    *yaml.Node // the document
	root    *yaml.Node // its mapping
	compact bool       // list items start in the column of their key, as kubectl writes them
}

// extension is the name of our note in our contexts; its only field remembers which context was current before.
const (
	extension = "kwokctl"
	previous  = "previousContext"
)

func lists() []string { return []string{"clusters", "contexts", "users"} }

// parse reads a kubeconfig and refuses whatever an edit could damage. No text at all is an empty kubeconfig.
func parse(text []byte) (*document, error) {
	if _, err := tree(text); err != nil {
		return nil, err
	}
	node, err := decode(text)
	if err != nil {
		return nil, err
	}
	d := &document{node: node, root: node.Content[0], compact: true}
	if d.root.Kind == yaml.ScalarNode && d.root.Tag == "!!null" {
		d.root = empty()
		d.node.Content[0] = d.root
	}
	if d.root.Kind != yaml.MappingNode {
		return nil, errors.New("the file is damaged: not a kubeconfig")
	}
	if len(d.root.Content) == 0 {
		d.root.Style = 0 // {} would make all that follows one line
	}
	return d, d.check()
}

// decode reads the only document of text.
func decode(text []byte) (*yaml.Node, error) {
	var first, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	switch err := dec.Decode(&first); {
	case errors.Is(err, io.EOF):
		return &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{empty()}}, nil
	case err != nil:
		return nil, fmt.Errorf("the file is damaged: %s", oneLine(err))
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file is damaged: more than one YAML document")
	}
	return &first, nil
}

func empty() *yaml.Node {
	return mapping("apiVersion", scalar("v1"), "kind", scalar("Config"))
}

// check looks at the parts of the tree that an edit touches.
func (d *document) check() error {
	seen := map[string]bool{}
	for i := 0; i < len(d.root.Content); i += 2 {
		key, value := d.root.Content[i], d.root.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || seen[key.Value] {
			return fmt.Errorf("the file is damaged: line %d: key %q is repeated, merged or no text", key.Line, key.Value)
		}
		seen[key.Value] = true
		if !slices.Contains(lists(), key.Value) || value.Tag == "!!null" {
			continue
		}
		if value.Kind != yaml.SequenceNode {
			return fmt.Errorf("the file is damaged: line %d: %s is no list", key.Line, key.Value)
		}
		d.compact = d.compact && (len(value.Content) == 0 || value.Column <= key.Column)
		for _, item := range value.Content {
			if name := field(item, "name"); name == nil || name.Kind != yaml.ScalarNode {
				return fmt.Errorf("the file is damaged: line %d: an item of %s has no name", item.Line, key.Value)
			}
		}
	}
	for key, want := range map[string]string{"kind": "Config", "apiVersion": "v1"} {
		if got := text(field(d.root, key)); got != "" && got != want {
			return fmt.Errorf("the file is damaged: %s is %q, not %q", key, got, want)
		}
	}
	if cur := field(d.root, "current-context"); cur != nil && cur.Kind != yaml.ScalarNode {
		return errors.New("the file is damaged: current-context is no text")
	}
	return nil
}

func (d *document) encode() ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if d.compact {
		enc.CompactSeqIndent()
	}
	if err := enc.Encode(d.node); err != nil {
		return nil, fmt.Errorf("encode kubeconfig: %s", oneLine(err))
	}
	return out.Bytes(), enc.Close()
}

// put adds or replaces the entry.
func (d *document) put(e Entry, makeCurrent bool) {
	cluster := mapping()
	switch {
	case e.Insecure:
		set(cluster, "insecure-skip-tls-verify", yes())
	case len(e.CA) > 0:
		set(cluster, "certificate-authority-data", scalar(base64.StdEncoding.EncodeToString(e.CA)))
	}
	set(cluster, "disable-compression", yes()) // answers do not leave the machine
	set(cluster, "server", scalar(e.Server))
	if e.ServerName != "" && !e.Insecure {
		set(cluster, "tls-server-name", scalar(e.ServerName))
	}
	set(d.ensure("clusters", "cluster", e.Name), "cluster", cluster)

	// The context keeps what the user added to it, such as a namespace.
	context := field(d.ensure("contexts", "context", e.Name), "context")
	set(context, "cluster", scalar(e.Name))
	if len(e.Cert) > 0 {
		set(context, "user", scalar(e.Name))
		set(d.ensure("users", "user", e.Name), "user", mapping(
			"client-certificate-data", scalar(base64.StdEncoding.EncodeToString(e.Cert)),
			"client-key-data", scalar(base64.StdEncoding.EncodeToString(e.Key))))
	} else {
		unset(context, "user")
		d.drop("users", e.Name)
	}
	if current := d.current(); makeCurrent && current != e.Name {
		remember(context, current)
		set(d.root, "current-context", scalar(e.Name))
	}
}

// remove takes the entry out. Contexts of ours that remembered it remember what it remembered instead, so clusters
// can be deleted in any order.
func (d *document) remove(name string) {
	before := remembered(field(d.item("contexts", name), "context"))
	for _, l := range lists() {
		d.drop(l, name)
	}
	if seq := field(d.root, "contexts"); seq != nil {
		for _, item := range seq.Content {
			if context := field(item, "context"); remembered(context) == name {
				remember(context, before)
			}
		}
	}
	if d.current() != name {
		return
	}
	if d.item("contexts", before) == nil {
		before = ""
	}
	set(d.root, "current-context", scalar(before))
}

func (d *document) current() string { return text(field(d.root, "current-context")) }

// item is the item of a list with this name, or nil.
func (d *document) item(list, name string) *yaml.Node {
	seq := field(d.root, list)
	if seq == nil || name == "" {
		return nil
	}
	for _, item := range seq.Content {
		if text(field(item, "name")) == name {
			return item
		}
	}
	return nil
}

// ensure returns the item of a list with this name and a mapping at key, and makes what is missing.
func (d *document) ensure(list, key, name string) *yaml.Node {
	seq := field(d.root, list)
	if seq == nil || seq.Kind != yaml.SequenceNode {
		seq = &yaml.Node{Kind: yaml.SequenceNode}
		set(d.root, list, seq)
	}
	if len(seq.Content) == 0 {
		seq.Style = 0
	}
	item := d.item(list, name)
	if item == nil {
		item = mapping("name", scalar(name))
		if key < "name" { // the order kubectl writes
			item = mapping(key, mapping(), "name", scalar(name))
		}
		seq.Content = append(seq.Content, item)
	}
	if value := field(item, key); value == nil || value.Kind != yaml.MappingNode {
		set(item, key, mapping())
	}
	return item
}

// drop takes every item of this name out of a list.
func (d *document) drop(list, name string) {
	if seq := field(d.root, list); seq != nil {
		seq.Content = slices.DeleteFunc(seq.Content, func(item *yaml.Node) bool {
			return text(field(item, "name")) == name
		})
	}
}

// remembered is the context that was current before this one of ours.
func remembered(context *yaml.Node) string {
	if note := note(context); note != nil {
		return text(field(field(note, "extension"), previous))
	}
	return ""
}

// remember notes in a context of ours which one was current before it; an empty name takes the note away.
func remember(context *yaml.Node, name string) {
	all := field(context, "extensions")
	if old := note(context); old != nil {
		all.Content = slices.DeleteFunc(all.Content, func(n *yaml.Node) bool { return n == old })
	}
	if name != "" {
		if all == nil || all.Kind != yaml.SequenceNode {
			all = &yaml.Node{Kind: yaml.SequenceNode}
			set(context, "extensions", all)
		}
		all.Content = append(all.Content, mapping("extension", mapping(previous, scalar(name)), "name", scalar(extension)))
	}
	if all != nil && len(all.Content) == 0 {
		unset(context, "extensions")
	}
}

func note(context *yaml.Node) *yaml.Node {
	all := field(context, "extensions")
	if all == nil || all.Kind != yaml.SequenceNode {
		return nil
	}
	for _, n := range all.Content {
		if text(field(n, "name")) == extension {
			return n
		}
	}
	return nil
}

// tree reads text as kubectl does.
func tree(text []byte) (map[string]any, error) {
	var t any
	if err := k8syaml.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("the file is damaged: %s", oneLine(err))
	}
	m, ok := t.(map[string]any)
	if t != nil && !ok {
		return nil, errors.New("the file is damaged: not a kubeconfig")
	}
	return m, nil
}
