// Package kectl reads and writes Kubernetes objects where they are stored, in etcd, without the API server: no
// admission, no validation, no defaults, and no limit of speed but the disk's.
package kectl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"sigs.k8s.io/yaml"
)

// KV is what is used of an etcd client.
type KV interface {
	Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error)
	Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error)
	Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan
}

// Store is where one cluster's objects are.
type Store struct {
	Etcd   KV
	Prefix string // of all keys: the API server's --etcd-prefix
	Chunk  int64  // keys read at once

	known []Resource
}

// Selection says which objects.
type Selection struct {
	Resource  string // empty: all resources
	Name      string // empty: all objects
	Namespace string // empty: default
	All       bool   // all namespaces
}

// Output is how objects are shown: key, json, yaml, raw or none.
type Output struct {
	Format string
	W      io.Writer
}

// Formats are the values of Output.Format.
func Formats() []string { return []string{"key", "json", "yaml", "raw", "none"} }

type pair struct {
	key     string
	value   []byte
	deleted bool
}

// at is the key of what is below the prefix.
func (s *Store) at(below string) string {
	slash := ""
	if strings.HasSuffix(below, "/") || below == "" {
		slash = "/"
	}
	return path.Join("/", s.Prefix, below) + slash
}

// scan calls do with each key that begins with prefix, in order, all of one revision, which it returns nothing of.
func (s *Store) scan(ctx context.Context, prefix string, keysOnly bool, do func(pair) error) error {
	_, err := s.scanAt(ctx, prefix, keysOnly, do)
	return err
}

func (s *Store) scanAt(ctx context.Context, prefix string, keysOnly bool, do func(pair) error) (revision int64, err error) {
	for from, end := prefix, clientv3.GetPrefixRangeEnd(prefix); ; {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(s.Chunk), clientv3.WithRev(revision)}
		if keysOnly {
			opts = append(opts, clientv3.WithKeysOnly())
		}
		resp, err := s.Etcd.Get(ctx, from, opts...)
		if err != nil {
			return revision, fmt.Errorf("read etcd: %w", err)
		}
		revision = resp.Header.Revision
		for _, kv := range resp.Kvs {
			if err := do(pair{key: string(kv.Key), value: kv.Value}); err != nil {
				return revision, err
			}
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return revision, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// keys resolves a selection to one key, or a prefix of keys among which a name is still to be looked for.
func (s *Store) keys(ctx context.Context, sel Selection) (key string, exact bool, name string, err error) {
	if sel.Resource == "" {
		return s.at(""), false, "", nil
	}
	r, err := s.find(ctx, sel.Resource)
	if err != nil {
		return "", false, "", err
	}
	if strings.Contains(sel.Name, "/") {
		return "", false, "", fmt.Errorf("name %q: it has a slash", sel.Name)
	}
	namespace := sel.Namespace
	if namespace == "" {
		namespace = "default"
	}
	switch {
	case r.Namespaced && sel.All:
		return s.at(r.dir() + "/"), false, sel.Name, nil
	case sel.Name != "":
		return s.at(r.key(namespace, sel.Name)), true, "", nil
	}
	return s.at(r.key(namespace, "") + "/"), false, "", nil
}

// Get shows what is selected and returns how many there were and the revision of etcd.
func (s *Store) Get(ctx context.Context, sel Selection, out Output) (count int, revision int64, err error) {
	key, exact, name, err := s.keys(ctx, sel)
	if err != nil {
		return 0, 0, err
	}
	show := func(kv pair) error {
		if name != "" && path.Base(kv.key) != name {
			return nil
		}
		count++
		return out.show(kv)
	}
	if !exact {
		revision, err = s.scanAt(ctx, key, out.Format == "key" || out.Format == "none", show)
		return count, revision, err
	}
	resp, err := s.Etcd.Get(ctx, key)
	if err != nil {
		return 0, 0, fmt.Errorf("read etcd: %w", err)
	}
	for _, kv := range resp.Kvs {
		if err := show(pair{key: string(kv.Key), value: kv.Value}); err != nil {
			return count, 0, err
		}
	}
	return count, resp.Header.Revision, nil
}

// Watch shows changes of what is selected, from the revision on (0: from now), until ctx ends.
func (s *Store) Watch(ctx context.Context, sel Selection, revision int64, out Output) error {
	key, exact, name, err := s.keys(ctx, sel)
	if err != nil {
		return err
	}
	opts := []clientv3.OpOption{clientv3.WithRev(revision)}
	if !exact {
		opts = append(opts, clientv3.WithPrefix())
	}
	for resp := range s.Etcd.Watch(clientv3.WithRequireLeader(ctx), key, opts...) {
		if err := resp.Err(); err != nil {
			return fmt.Errorf("watch etcd: %w", err)
		}
		for _, e := range resp.Events {
			if name != "" && path.Base(string(e.Kv.Key)) != name {
				continue
			}
			if err := out.show(pair{string(e.Kv.Key), e.Kv.Value, e.Type == clientv3.EventTypeDelete}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Delete removes what is selected, and shows the keys. Without a resource all namespaces must be meant.
func (s *Store) Delete(ctx context.Context, sel Selection, out Output) (count int, err error) {
	if sel.Resource == "" && !sel.All {
		return 0, errors.New("delete: name a resource; -A alone deletes everything in the cluster")
	}
	key, exact, name, err := s.keys(ctx, sel)
	if err != nil {
		return 0, err
	}
	var batch []clientv3.Op
	flush := func() error {
		deleted, err := s.commit(ctx, batch)
		for i, op := range batch {
			if i < len(deleted) && deleted[i] && err == nil {
				count++
				if out.Format == "key" {
					err = out.show(pair{key: string(op.KeyBytes())})
				}
			}
		}
		batch = batch[:0]
		return err
	}
	remove := func(kv pair) error {
		if name != "" && path.Base(kv.key) != name {
			return nil
		}
		if batch = append(batch, clientv3.OpDelete(kv.key)); len(batch) == maxOps {
			return flush()
		}
		return nil
	}
	if exact {
		err = remove(pair{key: key})
	} else {
		err = s.scan(ctx, key, true, remove)
	}
	if err != nil {
		return count, err
	}
	return count, flush()
}

// Writes are many at once, since etcd waits for the disk once for all that it has, but each by itself: what is written
// in one transaction has one revision, and who lists while the API server has seen half of it never sees the rest.
const (
	maxOps  = 1000 // in a batch, whose results are shown together
	writers = 32
)

// commit does ops, and tells of each whether it deleted something. When one fails, others may have been done.
func (s *Store) commit(ctx context.Context, ops []clientv3.Op) ([]bool, error) {
	deleted := make([]bool, len(ops))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	var next atomic.Int64
	for range min(writers, len(ops)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(ops) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				resp, err := s.Etcd.Do(ctx, ops[i])
				if err != nil {
					cancel(fmt.Errorf("write %s: %w", ops[i].KeyBytes(), err))
					return
				}
				deleted[i] = resp.Del() != nil && resp.Del().Deleted > 0
			}
		})
	}
	all.Wait()
	return deleted, context.Cause(ctx)
}

// show prints one object in the format.
func (o Output) show(kv pair) error {
	switch o.Format {
	case "none":
		return nil
	case "key":
		_, err := fmt.Fprintln(o.W, kv.key)
		return err
	case "raw":
		_, err := o.W.Write(append(kv.value, '\n'))
		return err
	}
	if kv.deleted {
		_, err := fmt.Fprintf(o.W, "---\n# %s | deleted\n", kv.key)
		if o.Format == "json" {
			err = nil
		}
		return err
	}
	object, err := decodeValue(kv.value)
	if err != nil {
		return fmt.Errorf("read %s: %w", kv.key, err)
	}
	if o.Format == "json" {
		text, err := json.MarshalIndent(object, "", "  ")
		if err == nil {
			_, err = fmt.Fprintf(o.W, "%s\n", text)
		}
		return err
	}
	text, err := yaml.JSONToYAML(object)
	if err == nil {
		_, err = fmt.Fprintf(o.W, "---\n# %s | %s\n%s", kv.key, mediaType(kv.value), text)
	}
	return err
}
