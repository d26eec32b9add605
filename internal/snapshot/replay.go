package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Replay says how to play a recording.
type Replay struct {
	Prefix        string // of all keys in etcd
	Snapshot      bool   // only the objects, and not the changes after them
	IgnoreErrors  bool   // leave out what cannot be played
	IgnoreUnknown bool   // leave out what is of kinds that the API server does not have
	Clock         *Clock
}

// Recording is a recording that was checked.
type Recording struct {
	Objects, Changes int
	Length           time.Duration
	Cut              error    // where and why it ends early; nil: it is whole
	Unknown          []string // kinds that the API server does not have, with the line of the first
	Problems         []error  // entries that cannot be played

	replay Replay
	in     *Input
	kinds  *Kinds
	wrong  map[int]bool // the lines of entries that are left out
	end    *world       // what there is after Play
}

// CheckRecording reads a recording to its end, without writing anything, and returns what it holds, or an error that
// names what cannot be played. An end that was cut off is no error.
func CheckRecording(ctx context.Context, in *Input, kinds *Kinds, replay Replay) (*Recording, error) {
	if in.IsEtcd {
		return nil, fmt.Errorf("%s: it is a snapshot of etcd, which kwokctl snapshot restore takes; a recording is needed", in.Name)
	}
	for {
		known := len(kinds.byType)
		r := &Recording{replay: replay, in: in, kinds: kinds, wrong: map[int]bool{}}
		if err := r.check(ctx); err != nil {
			return nil, err
		}
		if len(r.Unknown) > 0 && len(kinds.byType) > known {
			continue // what was unknown may be defined further down
		}
		return r, r.judge()
	}
}

func (r *Recording) check(ctx context.Context) error {
	unknown, order := map[string]int{}, []string{}
	start := time.Now()
	s, err := newScript(ctx, r.in, r.kinds, start, func(line int, err error) error {
		r.wrong[line] = true
		var u *unknownKind
		if !errors.As(err, &u) {
			r.Problems = append(r.Problems, &LineError{r.in.Name, line, err})
			return nil
		}
		if unknown[u.name] == 0 {
			unknown[u.name] = line
			order = append(order, u.name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	w := newWorld(r.kinds, start)
	err = s.each(func(e *entry) error {
		if e.change == nil {
			r.Objects++
		} else {
			if r.replay.Snapshot {
				return nil
			}
			r.Changes++
			r.Length = e.change.After
		}
		_, _, err := w.apply(e)
		return err
	})
	for _, name := range order {
		r.Unknown = append(r.Unknown, fmt.Sprintf("kind %s, from line %d on", name, unknown[name]))
	}
	r.Cut = s.cut
	return err
}

// judge returns why the recording is not to be played, nil if it is.
func (r *Recording) judge() error {
	switch {
	case len(r.Problems) > 0 && !r.replay.IgnoreErrors:
		slices.SortStableFunc(r.Problems, func(a, b error) int { return lineOf(a) - lineOf(b) })
		return fmt.Errorf("%w%s; --ignore-errors leaves such entries out", r.Problems[0], andMore(len(r.Problems)))
	case len(r.Unknown) > 0 && !r.replay.IgnoreUnknown && !r.replay.IgnoreErrors:
		return fmt.Errorf("%s: the API server does not have %s%s; --ignore-unknown leaves them out", r.in.Name, r.Unknown[0], andMore(len(r.Unknown)))
	case r.Objects+r.Changes == 0 && r.Cut != nil:
		return r.Cut
	case r.Objects+r.Changes == 0:
		return fmt.Errorf("%s: it holds no objects and no changes", r.in.Name)
	}
	return nil
}

// lineOf is the line that an error is about.
func lineOf(err error) int {
	var line *LineError
	errors.As(err, &line)
	return line.Line
}

// Play plays the recording, at its own pace, straight into etcd: so objects get the UIDs and times that they had, and
// a change can be one that no client may make, such as that of a controller. Nobody else may change what it plays
// meanwhile. progress is told, now and then, how many entries were played, and where in the recording that is.
func (r *Recording) Play(ctx context.Context, etcd *clientv3.Client, progress func(done int, at time.Duration)) error {
	lease, err := etcd.Grant(ctx, int64(eventLife.Seconds()))
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := newScript(ctx, r.in, r.kinds, time.Now(), func(line int, err error) error {
		if r.wrong[line] {
			return nil
		}
		return &LineError{r.in.Name, line, err} // it was good when it was checked
	})
	if err != nil {
		return err
	}
	p := &player{Recording: r, etcd: etcd, progress: progress, lease: lease.ID, fail: cancel, slots: make(chan struct{}, inFlight)}
	r.end = newWorld(r.kinds, s.in.Now)
	err = s.each(func(e *entry) error { return p.one(ctx, e) })
	p.group.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	p.report()
	return err
}

// player writes to etcd.
type player struct {
	*Recording
	etcd     *clientv3.Client
	lease    clientv3.LeaseID
	progress func(done int, at time.Duration)
	fail     context.CancelCauseFunc
	slots    chan struct{}
	group    sync.WaitGroup
	busy     map[string]bool // keys that are being written
	started  bool            // the changes have begun
	done     int
	at       time.Duration
	shown    time.Time
}

// one plays one entry when its time has come. Several may be on their way at once, but not of one object, and an
// object of the snapshot is there before the first change.
func (p *player) one(ctx context.Context, e *entry) error {
	if p.wrong[e.line] || e.change != nil && p.replay.Snapshot {
		return nil
	}
	if e.change != nil {
		if !p.started {
			p.group.Wait()
			p.replay.Clock.Start()
			p.started = true
		}
		if err := p.replay.Clock.wait(ctx, e.change.After); err != nil {
			return err
		}
		p.at = e.change.After
	}
	key, object, err := p.end.apply(e)
	if err != nil {
		return err
	}
	p.done++
	if time.Since(p.shown) > 50*time.Millisecond {
		p.report()
	}
	if key == "" {
		return nil
	}
	var data []byte
	if object != nil {
		if data, err = encode(object); err != nil {
			return err
		}
	}
	if p.busy[key] || len(p.busy)%1000 == 0 {
		p.group.Wait()
		p.busy = map[string]bool{}
	}
	p.busy[key] = true
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.group.Go(func() {
		defer func() { <-p.slots }()
		if err := p.put(ctx, e, key, data); err != nil {
			p.fail(fmt.Errorf("replay: %s: %w", e, err))
		}
	})
	return nil
}

func (p *player) put(ctx context.Context, e *entry, key string, data []byte) (err error) {
	key = p.replay.Prefix + key
	switch {
	case data == nil:
		_, err = p.etcd.Delete(ctx, key)
	case slices.Contains([]string{"events", "events.events.k8s.io"}, e.kind.String()):
		_, err = p.etcd.Put(ctx, key, string(data), clientv3.WithLease(p.lease))
	default:
		_, err = p.etcd.Put(ctx, key, string(data))
	}
	return err
}

func (p *player) report() {
	p.shown = time.Now()
	p.progress(p.done, p.at)
}
