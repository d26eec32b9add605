package docker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

// wrap says what was tried when the engine refused. It keeps what the engine said to one line.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(strings.TrimSpace(err.Error()), "Error response from daemon: ")
	text = strings.Join(strings.Fields(text), " ")
	switch {
	case client.IsErrConnectionFailed(err):
		text = "the engine does not answer any more"
	case strings.Contains(text, "non-overlapping"):
		text += "; the engine has no address range left: remove networks, as with docker network prune"
	}
	return &apiError{what, text, err}
}

// apiError is an error of the engine in words of one line.
type apiError struct {
	what, text string
	err        error
}

func (e *apiError) Error() string { return e.what + ": " + e.text }
func (e *apiError) Unwrap() error { return e.err }

func isConflict(err error) bool { return errdefs.IsConflict(err) }

// lostPort tells whether a container could not be started because somebody listens on one of its ports.
func lostPort(err error) bool {
	text := err.Error()
	return strings.Contains(text, "address already in use") || strings.Contains(text, "port is already allocated")
}

// errLostAddress says that the address of a component is that of another container: one of the user's that came to the
// network, or one that the engine lost.
var errLostAddress = errors.New("another container has its address; stop the cluster and start it, for another one")

// notStarted is the error for a container that the engine could not start.
func (r *Runtime) notStarted(component string, err error) error {
	if err != nil && strings.Contains(err.Error(), "already allocated to container") {
		return fmt.Errorf("start %s: %w", component, errLostAddress)
	}
	if err == nil || !lostPort(err) {
		return wrap("start "+component, err)
	}
	return &runtimes.ExitError{
		Component: component, Reason: "its port is taken", Log: runtimes.NoLog,
		Tail: []string{wrap("listen: address already in use", err).Error()},
	}
}

// taken says that a name is in use by something that is not of this cluster.
func taken(kind, name string) error {
	return fmt.Errorf("the name %s is taken by a %s that is not of this cluster; remove that, or choose another cluster name", name, kind)
}
