package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kwokctl/internal/cluster"
	"kwokctl/internal/files"
	"kwokctl/internal/kube"
	"kwokctl/internal/snapshot"
)

func newReplay(env *Env) *cobra.Command {
	var (
		replay snapshot.Replay
		path   string
		speed  float64
	)
	cmd := &cobra.Command{
		Use: "replay", Short: "Play a recording into the cluster, at the pace it was made", Args: exactly(cobra.NoArgs),
		Long: "Play a recording into the cluster. Meanwhile only etcd and the API server run. At the end the cluster is compared\n" +
			"with the end of the recording. On a terminal: space pauses and goes on, u and d change the speed, q ends.",
		Example: "  kwokctl snapshot replay --path run.yaml --speed 10",
	}
	f := cmd.Flags()
	f.StringVar(&path, "path", "", "recording to play, of kwokctl or kectl; may be compressed; - for standard input")
	f.Float64Var(&speed, "speed", 1, "how much faster than it was recorded; 0 does not wait at all")
	f.BoolVar(&replay.Snapshot, "snapshot", false, "end after the objects")
	f.BoolVar(&replay.IgnoreErrors, "ignore-errors", false, "leave out what cannot be played")
	f.BoolVar(&replay.IgnoreUnknown, "ignore-unknown", false, "leave out kinds that the API server does not have")
	prefixFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if path == "" {
			return errors.New("--path is missing: the file; - for standard input")
		}
		if speed < 0 || math.IsNaN(speed) || speed > 1e6 {
			return fmt.Errorf("--speed %v: allowed are 0, for no waiting, to 1000000", speed)
		}
		replay.Clock = snapshot.NewClock(speed)
		return env.replay(cmd.Context(), path, replay)
	}
	return cmd
}

// replay checks a recording, and plays it while the cluster is held.
func (e *Env) replay(ctx context.Context, path string, replay snapshot.Replay) (err error) {
	c, err := e.open()
	if err != nil {
		return err
	}
	in, err := snapshot.Open(path, e.In)
	if err != nil {
		return err
	}
	defer in.Close()
	if e.dryRun {
		return c.DryReplay(path, &cluster.Script{Out: e.Out})
	}
	config, err := kube.Connect(c.Kubeconfig(), "")
	if err != nil {
		return err
	}
	config.UserAgent = "kwokctl/" + e.Version
	replay.Prefix = c.EtcdPrefix()
	if err := c.Running(ctx); err != nil {
		return err
	}
	spool, err := os.MkdirTemp("", "kwokctl-replay-") // what is read twice must be a file
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.RemoveTree(filepath.Dir(spool), filepath.Base(spool))) }()
	if err := in.Spool(ctx, filepath.Join(spool, "recording")); err != nil {
		return err
	}
	kinds, err := snapshot.Discover(ctx, config)
	if err != nil {
		return err
	}
	r, err := snapshot.CheckRecording(ctx, in, kinds, replay)
	if err != nil {
		return err
	}
	for _, unknown := range r.Unknown {
		fmt.Fprintln(e.Err, "left out:", unknown)
	}
	for _, problem := range r.Problems {
		fmt.Fprintln(e.Err, "left out:", problem)
	}
	home, err := e.home()
	if err != nil {
		return err
	}
	return home.Hold(ctx, c.Name, func(c *cluster.Cluster) error { return e.play(ctx, c, r, replay.Clock) })
}

// play plays a recording that was checked, and says what came of it.
func (e *Env) play(ctx context.Context, c *cluster.Cluster, r *snapshot.Recording, clock *snapshot.Clock) error {
	socket, closeSocket, err := c.ShortEtcdSocket()
	if err != nil {
		return err
	}
	defer closeSocket()
	etcd, err := snapshot.Dial(socket)
	if err != nil {
		return err
	}
	defer etcd.Close()
	began := time.Now()
	var done, at atomic.Int64
	show := e.newStatus(func() string {
		return fmt.Sprintf(" %d/%d, %s of %s, %s", done.Load(), r.Objects+r.Changes, tenths(time.Duration(at.Load())), tenths(r.Length), pace(clock))
	})
	playing, release := e.keys(ctx, clock)
	err = r.Play(playing, etcd, func(n int, where time.Duration) {
		done.Store(int64(n))
		at.Store(int64(where))
	})
	release()
	show.end()
	if err != nil {
		return err
	}
	objects, different, err := r.Verify(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.say(), "Replayed %d objects and %d changes in %s.\n", r.Objects, r.Changes, seconds(time.Since(began)))
	if r.Cut != nil {
		fmt.Fprintf(e.Err, "The recording is not whole, and was played up to there: %v\n", r.Cut)
	}
	if len(different) == 0 {
		fmt.Fprintf(e.say(), "The cluster is as the recording ends: %d objects are equal.\n", objects)
		return nil
	}
	const most = 10
	for i, d := range different {
		if i == most {
			fmt.Fprintf(e.Err, "  and %d more\n", len(different)-most)
			break
		}
		fmt.Fprintf(e.Err, "  %s\n", visible(d.String()))
	}
	return fmt.Errorf("replay: %d of %d objects are not as the recording ends", len(different), objects)
}

func tenths(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

func pace(clock *snapshot.Clock) string {
	switch speed, paused := clock.State(); {
	case paused:
		return "paused"
	case speed == 0:
		return "no waiting"
	default:
		return fmt.Sprintf("x%.3g", speed)
	}
}

// keys lets the user steer a replay by keys, if there is one who could. The function that it returns gives the
// terminal back.
func (e *Env) keys(ctx context.Context, clock *snapshot.Clock) (context.Context, func()) {
	in, ok := e.In.(*os.File)
	if live, _ := liveTerminal(e); !ok || !live || !term.IsTerminal(int(in.Fd())) {
		return ctx, func() {}
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // it ends with the program
		const interrupt = 3 // what ^C is in this mode
		for key := make([]byte, 1); ; {
			if n, err := in.Read(key); n == 0 || err != nil {
				return
			}
			switch _, paused := clock.State(); key[0] {
			case ' ':
				clock.Pause(!paused)
			case '\r', '\n':
				clock.Pause(false)
			case 'u', '+':
				clock.Faster()
			case 'd', '-':
				clock.Slower()
			case 'q', interrupt:
				cancel(errInterrupted)
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		_ = term.Restore(int(in.Fd()), before) // nothing else can be done about it
	}
}
