// Package docker runs components as containers, through the Docker Engine API: Docker's own engine, and Podman's over
// its compatible socket. The image is this binary, so that nothing is pulled from anywhere. The engine is the
// supervisor; the order of need is kept inside the containers, which wait for what they need by themselves.
package docker

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

// The engines there are, as the user names them.
const (
	Docker = "docker"
	Podman = "podman"
)

// Labels of everything that belongs to a cluster.
const (
	ClusterLabel   = "kwok.x-k8s.io/cluster"
	componentLabel = "kwok.x-k8s.io/component"
	idLabel        = "kwok.x-k8s.io/id"        // tells clusters of one name in two work directories apart
	directoryLabel = "kwok.x-k8s.io/directory" // where the cluster was made, for people
	specLabel      = "kwok.x-k8s.io/spec"      // what a container was made from
	imageLabel     = "kwok.x-k8s.io/image"     // on our images
)

const (
	WorkDir = "/cluster" // the cluster directory in a container
	// user is who components run as. Its number says nothing to the host.
	user = 65532
)

const patience = 10 * time.Second

// Options tell what a Runtime works with.
type Options struct {
	Name     string              // of the cluster
	Dir      string              // cluster directory
	Engine   string              // Docker or Podman
	Self     string              // path of this binary; "" means os.Executable
	Programs []string            // names that the binary is called by in the image
	Data     []string            // directories in Dir that are volumes of their own, of all the components there are
	Publish  string              // address of the engine's machine that ports are published on; "" means 127.0.0.1
	Keep     []string            // patterns of paths in Dir that stay on this machine
	Getenv   func(string) string // DOCKER_HOST and the like
	Patience time.Duration       // with an engine that does not answer at all; 0 means 10s
	Log      *slog.Logger        // nil means silence
}

// Runtime runs the components of one cluster as containers.
type Runtime struct {
	Options

	info   atomic.Pointer[system.Info] // what the engine has said of itself, for which it runs two programs
	images sync.Map                    // names of images, by their binary
}

var _ runtimes.Runtime = (*Runtime)(nil)

// New returns the runtime of a cluster. It touches nothing.
func New(o Options) *Runtime {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Publish == "" {
		o.Publish = "127.0.0.1"
	}
	if o.Patience == 0 {
		o.Patience = patience
	}
	return &Runtime{Options: o}
}

// about asks the engine about itself, once.
func (r *Runtime) about(ctx context.Context, e *engine) (system.Info, error) {
	if info := r.info.Load(); info != nil {
		return *info, nil
	}
	answer, err := e.Info(ctx, client.InfoOptions{})
	if err != nil {
		return system.Info{}, wrap("ask the engine about itself", err)
	}
	r.info.Store(&answer.Info)
	return answer.Info, nil
}

// project is the name of the cluster's network, and what the names of all else begin with.
func (r *Runtime) project() string { return "kwok-" + r.Name }

// ContainerName is the name of a component's container: how other containers on the network of the cluster find it.
func ContainerName(cluster, component string) string { return "kwok-" + cluster + "-" + component }

func (r *Runtime) container(component string) string { return ContainerName(r.Name, component) }
