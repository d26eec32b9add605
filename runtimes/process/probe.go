//go:build linux || darwin

package process

import (
	"context"

	"kwokctl/runtimes"
)

// prober asks one process of a component for its health.
type prober struct {
	*runtimes.Prober
	probe   runtimes.Probe
	periods Periods
}

func newProber(dir string, probe runtimes.Probe, periods Periods) *prober {
	return &prober{Prober: runtimes.NewProber(dir, probe), probe: probe, periods: periods}
}

// run sends each answer to answers, nil for a good one: first those of Ready until one is good, then those of Live.
// It ends with ctx.
func (p *prober) run(ctx context.Context, answers chan<- error) {
	defer p.Close()
	pace := runtimes.Pace{First: p.periods.ProbeFirst, Most: p.periods.ProbeMost, Patience: p.periods.LiveTimeout}
	if !p.UntilReady(ctx, pace, func(err error) bool { return send(ctx, answers, err) }) {
		return
	}
	live := p.probe.Live
	if live == "" {
		live = p.probe.Ready
	}
	for live != "" && runtimes.Pause(ctx, p.periods.Live) {
		if !send(ctx, answers, p.Ask(ctx, live, p.periods.LiveTimeout)) {
			return
		}
	}
}

func send(ctx context.Context, answers chan<- error, err error) bool {
	select {
	case answers <- err:
		return true
	case <-ctx.Done():
		return false
	}
}
