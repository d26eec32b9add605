package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

// copyFiles puts the files of the cluster directory into the volume that all containers share, by way of one of them.
func (r *Runtime) copyFiles(ctx context.Context, e *engine, specs []runtimes.Spec) error {
	data, err := r.pack(specs)
	if err != nil {
		return err
	}
	_, err = e.CopyToContainer(ctx, r.container(specs[0].Name), client.CopyToContainerOptions{DestinationPath: WorkDir, Content: bytes.NewReader(data)})
	return wrap("copy files into container "+r.container(specs[0].Name), err)
}

// directory is the head of a directory that belongs to the components, in a tar archive.
func directory(name string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o700, Uid: user, Gid: user}
}

// pack returns the files of the cluster directory as a tar archive, but those that are to stay on this machine.
func (r *Runtime) pack(specs []runtimes.Spec) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	root := os.DirFS(r.Dir)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case r.kept(name, specs) && d.IsDir():
			return fs.SkipDir
		case r.kept(name, specs):
			return nil
		case d.IsDir():
			return t.WriteHeader(directory(name))
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(filepath.Join(r.Dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Uid: user, Gid: user, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = t.Write(data)
		return err
	})
	if err != nil {
		return nil, err
	}
	return b.Bytes(), t.Close()
}

// kept tells whether a file stays on this machine. One that an argument of a component names does not.
func (r *Runtime) kept(name string, specs []runtimes.Spec) bool {
	if !slices.ContainsFunc(append([]string{stateFile}, r.Keep...), func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	}) {
		return false
	}
	return !slices.ContainsFunc(specs, func(s runtimes.Spec) bool {
		return slices.ContainsFunc(s.Args, func(arg string) bool { return strings.HasSuffix(arg, "="+name) })
	})
}
