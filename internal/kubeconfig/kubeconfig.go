// Package kubeconfig adds and removes one context in a kubeconfig file that other programs edit too, without ever
// touching what is not ours.
package kubeconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"kwokctl/internal/files"
)

// Entry is one cluster, its user and the context that joins them, all of one name. Without Cert there is no user.
type Entry struct {
	Name   string // kwok-<cluster>
	Server string // URL
	CA     []byte // PEM, as are Cert and Key
	Cert   []byte
	Key    []byte

	ServerName string // that the server's certificate has, if it is not the host of Server
	Insecure   bool   // the server's certificate is not looked at, and CA is left out: clients refuse to have both
}

// Path is the file where a new context is written, by kubectl's rules: the --kubeconfig flag; else the only or first
// existing file of $KUBECONFIG, or its last if none exists; else ~/.kube/config. An empty flag that was given
// explicitly gives an empty path: no kubeconfig is to be touched.
func Path(flag string, flagSet bool, env func(string) string) (string, error) {
	paths, err := list(flag, flagSet, env)
	if err != nil || len(paths) == 0 {
		return "", err
	}
	for _, p := range paths {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return paths[len(paths)-1], nil
}

// Holding is the file of the list that holds the context name already, else Path.
func Holding(name, flag string, flagSet bool, env func(string) string) (string, error) {
	paths, err := list(flag, flagSet, env)
	if err != nil {
		return "", err
	}
	for _, p := range paths {
		// A damaged file of the list is reported by whoever has to write to it.
		if ok, err := Has(p, name); err == nil && ok {
			return p, nil
		}
	}
	return Path(flag, flagSet, env)
}

// list is every file that kubectl would merge, in its order.
func list(flag string, flagSet bool, env func(string) string) ([]string, error) {
	if flagSet && flag == "" {
		return nil, nil
	}
	if flag != "" {
		return []string{flag}, nil
	}
	split := filepath.SplitList(env("KUBECONFIG"))
	if paths := slices.DeleteFunc(split, func(p string) bool { return p == "" }); len(paths) > 0 {
		return paths, nil
	}
	home := env("HOME")
	if home == "" && runtime.GOOS == "windows" {
		home = env("USERPROFILE")
	}
	if home == "" {
		return nil, errors.New("find kubeconfig: neither KUBECONFIG nor HOME is set; name a file with --kubeconfig")
	}
	return []string{filepath.Join(home, ".kube", "config")}, nil
}

// Add writes the entry into the file at path, which is made if missing. An entry of that name is replaced, but for
// what the user added to its context, such as a namespace. With makeCurrent it becomes the current context, and the
// one that was current is remembered for Remove.
func Add(ctx context.Context, path string, e Entry, makeCurrent bool) error {
	if e.Name == "" || e.Server == "" {
		return fmt.Errorf("add context %q to %s: it has no name or no server", e.Name, path)
	}
	err := edit(ctx, path, e.Name, true, func(d *document) { d.put(e, makeCurrent) })
	if err != nil {
		return fmt.Errorf("add context %s to %s: %w", e.Name, path, err)
	}
	return nil
}

// Remove takes the cluster, user and context of this name out of the file; a file or entry that is missing is no
// error. If the context was the current one, the one before it is current again if it still exists, else none.
func Remove(ctx context.Context, path, name string) error {
	err := edit(ctx, path, name, false, func(d *document) { d.remove(name) })
	if err != nil {
		return fmt.Errorf("remove context %s from %s: %w", name, path, err)
	}
	return nil
}

// Has tells whether the file holds a context of this name. A missing file holds none.
func Has(path, name string) (bool, error) {
	text, _, err := read(path)
	if err != nil {
		return false, fmt.Errorf("read kubeconfig %s: %w", path, err)
	}
	d, err := parse(text)
	if err != nil {
		return false, fmt.Errorf("read kubeconfig %s: %w", path, err)
	}
	return d.item("contexts", name) != nil, nil
}

// Encode gives a kubeconfig file that holds this entry alone, with its certificates and key inside.
func Encode(e Entry) ([]byte, error) {
	d, err := parse(nil)
	if err != nil {
		return nil, err
	}
	d.put(e, true)
	return d.encode()
}

// edit changes the file under both locks. The locks of a symlink and of its target differ for kubectl, so both are
// taken.
func edit(ctx context.Context, path, name string, create bool, change func(*document)) error {
	target, err := files.Target(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) && !create {
		return nil
	}
	if err := makeParent(filepath.Dir(target)); err != nil {
		return err
	}
	unlock, err := lock(ctx, path, target, name)
	if err != nil {
		return err
	}
	return errors.Join(rewrite(ctx, path, name, create, change), unlock())
}

// makeParent makes a missing directory for this user alone, and takes one that is there as it is: it is not ours.
func makeParent(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	return files.MkdirPrivate(dir)
}

// rewrite reads, changes and writes the file. It refuses rather than lose anything.
func rewrite(ctx context.Context, path, name string, create bool, change func(*document)) error {
	old, mode, err := read(path)
	if err != nil {
		return err
	}
	if mode == 0 && !create {
		return nil
	}
	d, err := parse(old)
	if err != nil {
		return err
	}
	change(d)
	text, err := d.encode()
	if err != nil {
		return err
	}
	same, err := compare(old, text, name)
	if err != nil {
		return err
	}
	if same {
		return nil // not even its layout is touched
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if mode == 0 {
		mode = 0o600
	}
	return files.WriteAtomic(path, text, mode)
}

// compare checks that the new text says the same as the old one about all that is not ours, as kubectl reads it, and
// tells whether it says the same about ours too.
func compare(before, after []byte, name string) (bool, error) {
	was, err := tree(before)
	if err != nil {
		return false, err
	}
	is, err := tree(after)
	if err != nil {
		return false, fmt.Errorf("its layout cannot be kept: %w", err)
	}
	same := reflect.DeepEqual(was, is)
	if len(was) == 0 { // an empty file becomes a kubeconfig
		return same, nil
	}
	if !reflect.DeepEqual(without(was, name), without(is, name)) {
		return false, errors.New("other entries are entangled with ours (anchors or repeated keys); nothing was changed")
	}
	return same, nil
}

// read returns the content and mode of the file; a missing one has mode 0.
func read(path string) ([]byte, os.FileMode, error) {
	const limit = 16 << 20
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, 0, errors.New("not a regular file of less than 16 MiB")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	var text bytes.Buffer
	if _, err := io.Copy(&text, io.LimitReader(f, limit)); err != nil {
		return nil, 0, err
	}
	return text.Bytes(), info.Mode().Perm(), nil
}

// oneLine keeps a parser's message on the line of our error.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
