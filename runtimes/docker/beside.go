package docker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

// session is a program of our image that runs among the components of a cluster, by its standard streams.
type session struct {
	*client.HijackedResponse
	end sync.Once
	rid func() // of what was made for it alone
}

// Close ends the program's input, and it should end by that.
func (s *session) Close() {
	s.end.Do(func() {
		s.HijackedResponse.Close()
		if s.rid != nil {
			s.rid()
		}
	})
}

// ours tells whether a container is one of our image, which has all our programs.
func ours(c container.Summary) bool { return strings.HasPrefix(c.Image, imageName+":") }

// host returns a container of our image that runs, the first of specs if it can be; "" when there is none.
func host(have map[string]container.Summary, specs []runtimes.Spec) string {
	for _, s := range specs {
		if c := have[s.Name]; ours(c) && c.State == container.StateRunning {
			return c.ID
		}
	}
	for _, c := range have {
		if ours(c) && c.State == container.StateRunning && c.Labels[guestLabel] == "" {
			return c.ID
		}
	}
	return ""
}

// beside runs a program of our image in a container of ours, which host found, else in one that is made for it.
func (r *Runtime) beside(ctx context.Context, e *engine, host string, cmd ...string) (*session, error) {
	if host == "" {
		return r.guest(ctx, e, cmd)
	}
	made, err := e.ExecCreate(ctx, host, client.ExecCreateOptions{
		Cmd: cmd, AttachStdin: true, AttachStdout: true, AttachStderr: true, WorkingDir: WorkDir,
		Env: quick(),
	})
	if isConflict(err) { // it has just ended, or is being restarted
		return r.guest(ctx, e, cmd)
	}
	if err != nil {
		return nil, wrap("run "+cmd[0]+" in container "+host, err)
	}
	streams, err := e.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return nil, wrap("run "+cmd[0]+" in container "+host, err)
	}
	return &session{HijackedResponse: &streams.HijackedResponse}, nil
}

// quick is an environment for a quick start, as components have it.
func quick() []string { return []string{"GOGC=off"} }

// guestLabel marks containers that last as long as a command of ours.
const guestLabel = "kwok.x-k8s.io/guest"

// guest runs a program of our image in a container that is made for it: all components may be of images of others, or
// none may run.
func (r *Runtime) guest(ctx context.Context, e *engine, cmd []string) (*session, error) {
	info, err := r.about(ctx, e)
	if err != nil {
		return nil, err
	}
	image, err := r.ensureImage(ctx, e, info)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails
	part := "guest-" + hex.EncodeToString(id)
	labels := r.labels(e, part)
	labels[guestLabel] = "true"
	one, cancel, err := step(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	name := r.container(part)
	if _, err := e.ContainerCreate(one, client.ContainerCreateOptions{
		Name: name,
		Config: &container.Config{Image: image, Labels: labels, WorkingDir: WorkDir, Entrypoint: cmd[:1], Cmd: cmd[1:], Env: quick(),
			OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true},
		HostConfig: &container.HostConfig{NetworkMode: container.NetworkMode(r.project()),
			Mounts:         []mount.Mount{{Type: mount.TypeVolume, Source: r.fileVolume(), Target: WorkDir}},
			Resources:      limits(e, info),
			LogConfig:      container.LogConfig{Type: "none"},
			ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"}},
	}); err != nil {
		return nil, wrap("create container "+name, err)
	}
	rid := func() {
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
		defer cancel()
		_, _ = e.ContainerRemove(one, name, client.ContainerRemoveOptions{Force: true}) // delete finds it by its label
	}
	streams, err := e.ContainerAttach(ctx, name, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		rid()
		return nil, wrap("run "+cmd[0]+" in container "+name, err)
	}
	s := &session{HijackedResponse: &streams.HijackedResponse, rid: rid}
	if _, err := e.ContainerStart(one, name, client.ContainerStartOptions{}); err != nil {
		s.Close()
		return nil, wrap("start "+name, err)
	}
	return s, nil
}

// Run runs a program of our image in the cluster directory of the containers, and copies what it says to w until it
// ends or ctx does. Its input ends then too. With outlast, it does not end with a component that is stopped.
func (r *Runtime) Run(ctx context.Context, w io.Writer, outlast bool, program string, args ...string) error {
	e, err := r.open(ctx)
	if e == nil || err != nil {
		return err
	}
	defer e.Close()
	in := ""
	if !outlast {
		have, err := r.containers(ctx, e)
		if err != nil {
			return ended(ctx, err)
		}
		in = host(have, nil)
	}
	s, err := r.beside(ctx, e, in, append([]string{"/bin/" + program}, args...)...)
	if err != nil {
		return ended(ctx, err)
	}
	stop := context.AfterFunc(ctx, s.Close)
	defer stop()
	defer s.Close()
	said := &lastLine{}
	_, err = stdcopy.StdCopy(w, said, s.Reader)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case said.text != "":
		return errors.New(strings.TrimSpace(said.text))
	}
	return err
}
