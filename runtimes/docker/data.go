package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

// Replace makes the files of a directory of this machine the data of a component, in a fresh volume. The volume of
// before is kept for Revert, until Settle. The component must not run; it takes its new volume at its next start.
// The state file is what says which volume counts, so that data are replaced whole or not at all.
func (r *Runtime) Replace(ctx context.Context, s runtimes.Spec, dir string) error {
	e, err := r.openOrChoose(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := r.settle(ctx, e, s); err != nil {
		return ended(ctx, err)
	}
	next := e.Volumes + 1
	name := r.dataVolume(s, next)
	info, err := r.about(ctx, e)
	if err != nil {
		return ended(ctx, err)
	}
	image, err := r.ensureImage(ctx, e, info)
	if err != nil {
		return ended(ctx, err)
	}
	made, err := e.VolumeCreate(ctx, client.VolumeCreateOptions{Name: name, Labels: r.labels(e, s.Name)})
	if err != nil {
		return ended(ctx, wrap("create volume "+name, err))
	}
	if made.Volume.Labels[idLabel] != e.ID {
		return fmt.Errorf("create volume: %w", taken("volume", name))
	}
	if err := r.fill(ctx, e, s, name, image, dir); err != nil {
		return ended(ctx, errors.Join(err, r.dropVolume(context.WithoutCancel(ctx), e, s, name)))
	}
	before := e.Volumes
	e.Before, e.Volumes = &before, next
	return r.save(e.state)
}

// fill copies a directory into a volume.
func (r *Runtime) fill(ctx context.Context, e *engine, s runtimes.Spec, volume, image, dir string) error {
	target := path.Join(WorkDir, s.Data)
	mounts := []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: target}}
	return r.carrier(ctx, e, image, mounts, func(name string) error {
		in, out := io.Pipe()
		go func() { out.CloseWithError(packAll(out, dir)) }()
		_, err := e.CopyToContainer(ctx, name, client.CopyToContainerOptions{DestinationPath: target, Content: in})
		in.CloseWithError(errors.New("the engine reads no more"))
		return wrap("copy data into volume "+volume, err)
	})
}

// carrierName ends the name of the container that files and data go into volumes by.
const carrierName = "-copy"

// carrier makes a container of our image, which never runs, for as long as do takes. A fresh volume takes owner and mode
// from it.
func (r *Runtime) carrier(ctx context.Context, e *engine, image string, mounts []mount.Mount, do func(name string) error) error {
	name := r.project() + carrierName
	remove := func() {
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
		defer cancel()
		_, _ = e.ContainerRemove(one, name, client.ContainerRemoveOptions{Force: true}) // delete finds it by its label
	}
	remove()
	one, cancel, err := step(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if _, err := e.ContainerCreate(one, client.ContainerCreateOptions{
		Name:       name,
		Config:     &container.Config{Image: image, Labels: r.labels(e, "")},
		HostConfig: &container.HostConfig{NetworkMode: "none", Mounts: mounts},
	}); err != nil {
		return wrap("create container "+name, err)
	}
	defer remove()
	return do(name)
}

// packAll writes a directory as a tar archive.
func packAll(w io.Writer, dir string) error {
	t := tar.NewWriter(w)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return t.WriteHeader(directory(name))
		case !d.Type().IsRegular():
			return nil
		}
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Uid: user, Gid: user, Size: info.Size(), ModTime: time.Now()}); err != nil {
			return err
		}
		_, err = io.Copy(t, f)
		return err
	})
	if err != nil {
		return err
	}
	return t.Close()
}

// Kept tells whether there are data of before.
func (r *Runtime) Kept() bool {
	s, err := r.load()
	return err == nil && s.Before != nil
}

// Revert puts the data of before a Replace back, if they are kept. The component must not run.
func (r *Runtime) Revert(ctx context.Context, s runtimes.Spec) error {
	e, err := r.open(ctx)
	if e == nil || err != nil || e.Before == nil {
		return err
	}
	defer e.Close()
	e.Volumes, e.Before = *e.Before, nil
	if err := r.save(e.state); err != nil {
		return err
	}
	return r.settle(ctx, e, s)
}

// Settle removes the data of before a Replace, and what one has left that was cut.
func (r *Runtime) Settle(ctx context.Context, s runtimes.Spec) error {
	e, err := r.open(ctx)
	if e == nil || err != nil {
		return err
	}
	defer e.Close()
	return r.settle(ctx, e, s)
}

// settle removes all data of a component but those that count.
func (r *Runtime) settle(ctx context.Context, e *engine, s runtimes.Spec) error {
	list, err := e.VolumeList(ctx, client.VolumeListOptions{Filters: e.ours()})
	if err != nil {
		return wrap("list volumes", err)
	}
	for _, v := range list.Items {
		if v.Labels[componentLabel] == s.Name && v.Name != r.dataVolume(s, e.Volumes) {
			if err := r.dropVolume(ctx, e, s, v.Name); err != nil {
				return err
			}
		}
	}
	if e.Before == nil {
		return nil
	}
	e.Before = nil
	return r.save(e.state)
}

// dropVolume removes a volume of data, the carrier that may have filled it, and the container of its component if that
// still has it and does not run.
func (r *Runtime) dropVolume(ctx context.Context, e *engine, s runtimes.Spec, name string) error {
	carrier := r.project() + carrierName
	if err := removed("container "+carrier, e.discard(ctx, carrier)); err != nil {
		return err
	}
	have, err := r.containers(ctx, e)
	if err != nil {
		return err
	}
	if c := have[s.Name]; c.ID != "" && c.State != container.StateRunning {
		for _, m := range c.Mounts {
			if m.Name == name {
				_, err := e.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{})
				if err := removed("container "+r.container(s.Name), err); err != nil {
					return err
				}
			}
		}
	}
	_, err = e.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
	return removed("volume "+name, err)
}
