package controller

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"time"

	"kwokctl/internal/api"
)

// filesEvery is how often we look whether a configuration file changed. Two looks must agree, so that none is read
// while it is being written.
const filesEvery = 300 * time.Millisecond

// print tells versions of the configuration files apart.
func (f *commandLine) print() string {
	var b strings.Builder
	for _, name := range append([]string{defaultFile()}, f.files...) {
		names, _ := inDirectory(expand(name)) // what cannot be read is as good as absent
		for _, n := range names {
			if info, err := os.Stat(n); err == nil {
				fmt.Fprintln(&b, n, info.Size(), info.ModTime().UnixNano())
			}
		}
	}
	return b.String()
}

// readFiles hands over the Stages of the configuration files whenever those change. Files that cannot be read leave
// all as it is.
func (l *loop) readFiles(ctx context.Context, cfg config) {
	if cfg.files == nil {
		return
	}
	taken := cfg.printed
	for last := taken; wait(ctx, filesEvery); {
		now := cfg.files.print()
		settled := now == last
		if last = now; !settled || now == taken {
			continue
		}
		taken = now
		next, err := cfg.files.load(slog.New(slog.DiscardHandler))
		if err != nil {
			l.log.Error("configuration files changed and cannot be read; what was read before goes on", "err", err)
			continue
		}
		next.tell(l.log)
		l.rules.SetFiles(next.rules)
		if !reflect.DeepEqual(next.opts, cfg.opts) {
			l.log.Warn("configuration files changed; options take effect at the next start, objects now")
		}
		select {
		case l.batches <- batch{files: next.stages, fixed: next.metrics, filesRead: true}:
		case <-ctx.Done():
		}
	}
}

// takeFiles replaces the Stages of files. Those that say the same stay what they are.
func (l *loop) takeFiles(stages []*api.Stage) {
	for i, s := range stages {
		for _, old := range l.cat.fixed {
			if old.Metadata.Name == s.Metadata.Name && old.File == s.File && reflect.DeepEqual(old.Spec, s.Spec) {
				stages[i] = old
			}
		}
	}
	l.log.Info("configuration files changed", "stages", len(stages))
	l.cat.fixed = stages
	l.cat.touch(l.now)
}
