package kectl

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/util/uuid"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"kwokctl/internal/yaml"
)

// object is what Put looks at; the rest stays as it is.
type object struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Items      []json.RawMessage `json:"items"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
}

// Put writes the objects of a stream of YAML or JSON that are selected, as they are: what the API server would add is
// not added, but for a uid and a creation time. All are read and found good before the first is written.
func (s *Store) Put(ctx context.Context, in io.Reader, sel Selection, out Output) (count int, err error) {
	var all []pair
	var only *Resource
	if sel.Resource != "" {
		r, err := s.find(ctx, sel.Resource)
		if err != nil {
			return 0, err
		}
		only = &r
	}
	docs := utilyaml.NewYAMLReader(bufio.NewReader(in))
	for n := 1; ; n++ {
		text, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("read document %d: %w", n, err)
		}
		if all, err = s.add(ctx, all, text, only, sel); err != nil {
			return 0, fmt.Errorf("read document %d: %w", n, err)
		}
	}
	for len(all) > 0 {
		batch, rest := split(all)
		var ops []clientv3.Op
		for _, kv := range batch {
			ops = append(ops, clientv3.OpPut(kv.key, string(kv.value)))
		}
		if _, err := s.commit(ctx, ops); err != nil {
			return count, err
		}
		for _, kv := range batch {
			count++
			if err := out.show(kv); err != nil {
				return count, err
			}
		}
		all = rest
	}
	return count, nil
}

// split takes from all, of which there is at least one, what can be written at once: no key twice, since the last is to
// win.
func split(all []pair) (batch, rest []pair) {
	seen := map[string]bool{}
	for i, kv := range all {
		if seen[kv.key] || i == maxOps {
			return all[:i], all[i:]
		}
		seen[kv.key] = true
	}
	return all, nil
}

// add appends what a document holds and sel selects: an object, several in a row if it is JSON, or a list of them.
func (s *Store) add(ctx context.Context, all []pair, text []byte, only *Resource, sel Selection) ([]pair, error) {
	stream := bytes.TrimSpace(text)
	// JSON may come in a row, which YAML cannot; what begins with a brace but is no JSON may still be YAML.
	if first := json.NewDecoder(bytes.NewReader(stream)); !bytes.HasPrefix(stream, []byte("{")) || first.Decode(new(json.RawMessage)) != nil {
		data, err := yaml.ToJSON(text)
		if err != nil {
			return nil, err
		}
		stream = data
	}
	dec := json.NewDecoder(bytes.NewReader(stream))
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if string(raw) == "null" {
			continue
		}
		var err error
		if all, err = s.addOne(ctx, all, raw, only, sel); err != nil {
			return nil, err
		}
	}
}

func (s *Store) addOne(ctx context.Context, all []pair, raw json.RawMessage, only *Resource, sel Selection) ([]pair, error) {
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	if o.Items != nil && len(o.Kind) > 4 && o.Kind[len(o.Kind)-4:] == "List" || o.Kind == "List" {
		var err error
		for _, item := range o.Items {
			if all, err = s.addOne(ctx, all, item, only, sel); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	if o.APIVersion == "" || o.Kind == "" || o.Metadata.Name == "" {
		return nil, errors.New("it has no apiVersion, no kind or no metadata.name")
	}
	r, err := s.ofKind(ctx, o.APIVersion, o.Kind)
	if err != nil {
		return nil, err
	}
	if r.Namespaced && o.Metadata.Namespace == "" {
		o.Metadata.Namespace = "default"
		if sel.Namespace != "" {
			o.Metadata.Namespace = sel.Namespace
		}
	}
	if !sel.selects(o, r, only) {
		return all, nil
	}
	value, err := s.value(raw, o, r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Name, o.Metadata.Name, err)
	}
	return append(all, pair{key: s.at(r.key(o.Metadata.Namespace, o.Metadata.Name)), value: value}), nil
}

// selects tells whether an object of resource r is meant.
func (sel Selection) selects(o object, r Resource, only *Resource) bool {
	namespace := sel.Namespace
	if namespace == "" && only != nil {
		namespace = "default"
	}
	return (only == nil || only.dir() == r.dir()) &&
		(sel.Name == "" || sel.Name == o.Metadata.Name) &&
		(!r.Namespaced || sel.All || namespace == "" || namespace == o.Metadata.Namespace)
}

// value completes an object and encodes it for etcd.
func (s *Store) value(raw json.RawMessage, o object, r Resource) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // what is not looked at stays as it is
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	meta := tree["metadata"].(map[string]any) // it has a name, so it is there
	delete(meta, "resourceVersion")
	if r.Namespaced {
		meta["namespace"] = o.Metadata.Namespace
	}
	if t, _ := meta["creationTimestamp"].(string); t == "" {
		meta["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	if uid, _ := meta["uid"].(string); uid == "" {
		meta["uid"] = string(uuid.NewUUID())
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	return encodeValue(text, r)
}
