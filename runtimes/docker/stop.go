package docker

import (
	"context"
	"errors"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

// Stop implements runtimes.Runtime. Those that nobody needs end first, together.
func (r *Runtime) Stop(ctx context.Context, specs []runtimes.Spec, kill bool) ([]string, error) {
	e, err := r.open(ctx)
	if e == nil || err != nil {
		return nil, err
	}
	defer e.Close()
	grace := stopGrace
	if kill {
		grace = 0
	}
	var killed []string
	for left := slices.Clone(specs); len(left) > 0; {
		now, later := left, []runtimes.Spec(nil)
		if !kill {
			now, later = unneeded(left)
		}
		late := make([]bool, len(specs))
		err := each(now, func(s runtimes.Spec) error {
			was, err := r.stopOne(ctx, e, s, grace)
			late[slices.IndexFunc(specs, func(o runtimes.Spec) bool { return o.Name == s.Name })] = was
			return err
		})
		if err != nil {
			return killed, ended(ctx, err)
		}
		for i, s := range specs {
			if late[i] && !kill {
				killed = append(killed, s.Name)
			}
		}
		left = later
	}
	return killed, nil
}

// unneeded splits specs into those that no other of them needs, and the rest.
func unneeded(specs []runtimes.Spec) (free, needed []runtimes.Spec) {
	for _, s := range specs {
		if slices.ContainsFunc(specs, func(o runtimes.Spec) bool { return slices.Contains(o.Needs, s.Name) }) {
			needed = append(needed, s)
		} else {
			free = append(free, s)
		}
	}
	if len(free) == 0 { // a circle, which the table does not have
		return needed, nil
	}
	return free, needed
}

// stopOne ends one container, and tells whether it had to be killed.
func (r *Runtime) stopOne(ctx context.Context, e *engine, s runtimes.Spec, grace int) (late bool, err error) {
	name := r.container(s.Name)
	before, err := e.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, wrap("stop "+s.Name, err)
	}
	if before.Container.Config != nil && before.Container.Config.Labels[idLabel] != e.ID {
		return false, nil // of somebody else, whose name it is then
	}
	if _, err = e.ContainerStop(ctx, name, client.ContainerStopOptions{Timeout: &grace}); err != nil && !missing(err) {
		return false, wrap("stop "+s.Name, err)
	}
	if before.Container.State == nil || !before.Container.State.Running {
		return false, nil
	}
	after, err := e.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil || after.Container.State == nil {
		return false, nil // it has ended, which is what was asked for
	}
	return after.Container.State.ExitCode == 128+9, nil
}

// Uninstall implements runtimes.Runtime. It finds what to remove by its label.
func (r *Runtime) Uninstall(ctx context.Context, _ []runtimes.Spec) error {
	e, err := r.open(ctx)
	if e == nil || err != nil {
		return err
	}
	defer e.Close()
	if err := r.removeContainers(ctx, e); err != nil {
		return err
	}
	return errors.Join(r.removeNetworks(ctx, e), r.removeVolumes(ctx, e))
}

func (r *Runtime) removeContainers(ctx context.Context, e *engine) error {
	list, err := r.containers(ctx, e)
	if err != nil {
		return err
	}
	var all []runtimes.Spec
	for name := range list {
		all = append(all, runtimes.Spec{Name: name})
	}
	return each(all, func(s runtimes.Spec) error {
		return removed("container "+r.container(s.Name), e.discard(ctx, list[s.Name].ID))
	})
}

// discard removes a container. One that lives for a moment only may be about to be removed by those who made it: then
// it waits until that is done, at most as long as they may take.
func (e *engine) discard(ctx context.Context, id string) error {
	_, err := e.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if !isConflict(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	wait := e.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionRemoved})
	select {
	case <-wait.Result:
		return nil
	case broken := <-wait.Error:
		if missing(broken) {
			return nil
		}
		return err // why it could not be removed
	}
}

// removed makes no error of what is gone already.
func removed(what string, err error) error {
	if missing(err) {
		return nil
	}
	return wrap("remove "+what, err)
}

// removeNetworks also takes containers of the user off the network, which would keep it.
func (r *Runtime) removeNetworks(ctx context.Context, e *engine) error {
	list, err := e.NetworkList(ctx, client.NetworkListOptions{Filters: e.ours()})
	if err != nil {
		return wrap("list networks", err)
	}
	for _, n := range list.Items {
		whole, err := e.NetworkInspect(ctx, n.ID, client.NetworkInspectOptions{})
		if err != nil && !missing(err) {
			return wrap("remove network "+n.Name, err)
		}
		for id := range whole.Network.Containers {
			if _, err := e.NetworkDisconnect(ctx, n.ID, client.NetworkDisconnectOptions{Container: id, Force: true}); err != nil && !missing(err) {
				return wrap("take a container off network "+n.Name, err)
			}
		}
		_, err = e.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		if err := removed("network "+n.Name, err); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runtime) removeVolumes(ctx context.Context, e *engine) error {
	list, err := e.VolumeList(ctx, client.VolumeListOptions{Filters: e.ours()})
	if err != nil {
		return wrap("list volumes", err)
	}
	for _, v := range list.Items {
		_, err := e.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{})
		if err := removed("volume "+v.Name, err); err != nil {
			return err
		}
	}
	return nil
}
