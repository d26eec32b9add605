package docker

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

const (
	loopExits = 5                // restarts that make a crash loop
	loopTime  = time.Minute      // unless the last was longer ago
	startTime = 30 * time.Second // for which one that does not answer counts as starting
)

// Status implements runtimes.Runtime. The engine knows what runs; whether it works is asked from inside.
func (r *Runtime) Status(ctx context.Context, specs []runtimes.Spec) ([]runtimes.Status, error) {
	list := make([]runtimes.Status, len(specs))
	for i, s := range specs {
		list[i] = runtimes.Status{Name: s.Name, State: runtimes.Stopped}
	}
	e, err := r.open(ctx)
	if e == nil || err != nil {
		return list, err
	}
	defer e.Close()
	have, err := r.containers(ctx, e)
	if err != nil {
		return nil, ended(ctx, err)
	}
	var ask []question
	at := map[string]int{}
	for i, s := range specs {
		c := have[s.Name]
		if c.ID == "" {
			continue
		}
		d, err := e.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
		if missing(err) {
			continue
		}
		if err != nil {
			return nil, wrap("look at container "+r.container(s.Name), err)
		}
		list[i] = seen(s.Name, d.Container, time.Now())
		if d.Container.State != nil && d.Container.State.Status == container.StateRunning {
			at[s.Name] = i
			ask = append(ask, question{s.Name, s.Probe})
		}
	}
	if len(ask) == 0 {
		return list, nil
	}
	err = r.ask(ctx, e, host(have, specs), "once", ask, func(a answer) {
		s := &list[at[a.Name]]
		if a.Error == "" {
			s.State, s.Reason = runtimes.Ready, ""
		} else {
			s.Reason = a.Error
		}
	})
	return list, err
}

// seen turns what the engine knows of a container into a status. One that runs is taken for one that does not answer.
func seen(name string, c container.InspectResponse, now time.Time) runtimes.Status {
	s := runtimes.Status{Name: name, State: runtimes.Stopped, Restarts: c.RestartCount}
	st := c.State
	if st == nil {
		return s
	}
	s.Started, _ = time.Parse(time.RFC3339Nano, st.StartedAt)
	loops := c.RestartCount >= loopExits && now.Sub(s.Started) < loopTime
	exited := func() {
		s.ExitCode, s.Reason = &st.ExitCode, exitReason(st.ExitCode)
		if st.OOMKilled {
			s.Reason += " (out of memory)"
		}
	}
	switch st.Status {
	case container.StateRunning:
		s.PID = st.Pid
		s.State = runtimes.NotReady
		if now.Sub(s.Started) < startTime {
			s.State = runtimes.Starting
		}
		if loops {
			s.State = runtimes.CrashLoop
		}
	case container.StatePaused:
		s.State, s.PID, s.Reason = runtimes.NotReady, st.Pid, "paused"
	case container.StateRestarting:
		s.State = runtimes.Exited
		if loops {
			s.State = runtimes.CrashLoop
		}
		exited()
	case container.StateExited:
		if st.OOMKilled {
			exited()
		}
		s.Restarts = 0
	}
	return s
}
