package kubeconfig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"kwokctl/internal/files"
)

const (
	patience = 30 * time.Second      // the longest wait for the locks
	stale    = 60 * time.Second      // a .lock older than this was left behind: kubectl holds it for moments
	look     = 20 * time.Millisecond // how often to look whether a .lock is gone; it can only be polled
	mark     = "kwokctl\n"           // in a .lock of ours
)

// lock takes both kinds of lock and returns how to give them back. Ours (flock) orders kwokctl's own processes and
// vanishes with them. kubectl's, a file <path>.lock made with O_EXCL, keeps out everything built on client-go, which
// knows no flock. Only under ours may a .lock left behind be broken, so no two of us break each other's; and one with our
// mark is of a kwokctl that was killed, since it would hold the flock too.
func lock(ctx context.Context, path, target, who string) (func() error, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	own, err := files.Acquire(ctx, target+".kwokctl-lock", who, nil)
	if err != nil {
		return nil, err
	}
	release := own.Release
	locks := []string{path + ".lock"}
	if target != path {
		locks = append(locks, target+".lock")
	}
	for _, l := range locks {
		if err := exclude(ctx, l); err != nil {
			return nil, errors.Join(err, release())
		}
		rest := release
		release = func() error { return errors.Join(files.Remove(l), rest()) }
	}
	return release, nil
}

// exclude makes the file at path once nobody else has made it.
func exclude(ctx context.Context, path string) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if err := files.CreateNew(path, mark); !errors.Is(err, fs.ErrExist) {
			return err
		}
		if broke, err := breakStale(path); err != nil {
			return err
		} else if broke {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("another program holds %s; remove that file if none runs: %w", path, ctx.Err())
		}
	}
}

// breakStale removes a lock that its holder left behind.
func breakStale(path string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	if text, _ := os.ReadFile(path); string(text) != mark && time.Since(info.ModTime()) < stale {
		return false, nil
	}
	// Look again: between the two its holder may have returned it and another program taken it.
	if now, err := os.Lstat(path); err != nil || !os.SameFile(info, now) || !now.ModTime().Equal(info.ModTime()) {
		return err != nil, nil
	}
	return true, files.Remove(path)
}
