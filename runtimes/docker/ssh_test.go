package docker

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kwokctl/runtimes"
)

// TestSSH runs programs that do what ssh does when it does not come through. Each time there is one line, and nothing is
// left.
func TestSSH(t *testing.T) {
	temp := t.TempDir()
	bin := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	const me = "ssh://me@far:22/run/e.sock"
	for script, want := range map[string]string{
		"echo noise >&2; echo 'ssh: Could not resolve hostname far: Name or service not known' >&2; exit 255": "docker at " + me + ": Could not resolve hostname far: Name or service not known; say where it is in DOCKER_HOST",
		"echo 'me@far: Permission denied (publickey).' >&2; exit 255":                                         "me@far: Permission denied (publickey).; nobody is asked for a password: let ssh -l me -p 22 -- far log in by a key",
		"echo 'No key is known.' >&2; echo 'Host key verification failed.' >&2; exit 255":                     "the key of that host is not known, or not the one of before; see what ssh -l me -p 22 -- far says",
		"exit 3":                "ssh ended: exit status 3",
		"sleep 5; cat":          "no answer within 500ms",
		"echo motd; exec cat":   "forwards no socket",
		"trap '' TERM; cat":     "forwards no socket",
		"trap '' TERM; sleep 9": "no answer within 500ms",
		`case "$*" in *"-L $TMPDIR/kwok-ssh-"*"/s:/run/e.sock -l me -p 22 -- far cat") echo good >&2; esac; exit 1`: "me@far:22/run/e.sock: good",
	} {
		if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := New(Options{Engine: Docker, Getenv: env("DOCKER_HOST=" + me), Patience: 500 * time.Millisecond}).Available(t.Context())
		if !errors.Is(err, runtimes.ErrUnavailable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || time.Since(began) > 4*tunnelTime {
			t.Errorf("%s: %v after %s; want one line with %q", script, err, time.Since(began), want)
		}
		if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
			t.Errorf("%s: left %q", script, left)
		}
	}
	t.Setenv("PATH", temp)
	err := New(Options{Engine: Podman, Getenv: env("CONTAINER_HOST=ssh://far")}).Available(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "podman at ssh://far: there is no program ssh; install the client of OpenSSH") {
		t.Errorf("no ssh: %v", err)
	}
}

func TestAway(t *testing.T) {
	for host, want := range map[string]away{
		"ssh://far":                      {"", "far", "", "/var/run/docker.sock"},
		"ssh://far/":                     {"", "far", "", "/var/run/docker.sock"},
		"ssh://me@[fd00::1]:22/run/e.so": {"me", "fd00::1", "22", "/run/e.so"},
	} {
		if got := (endpoint{Host: host}).away(Docker); got != want {
			t.Errorf("%s: %+v, want %+v", host, got, want)
		}
	}
	if got := (endpoint{Host: "ssh://far"}).away(Podman).socket; got != "/run/podman/podman.sock" {
		t.Errorf("podman: %s", got)
	}
}

// TestStaleTunnels removes what those who were killed have left, and nothing that is in use, new, or somewhere else.
func TestStaleTunnels(t *testing.T) {
	temp, err := os.MkdirTemp("", "t") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	t.Setenv("TMPDIR", temp)
	kept := put(t, temp, "other/s", "a file")
	for name, age := range map[string]time.Duration{"dead": time.Hour, "used": time.Hour, "empty": time.Hour, "new": 0} {
		dir := filepath.Join(temp, strings.Replace(tunnelDir, "*", name, 1))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if name == "used" || name == "dead" {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if l.SetUnlinkOnClose(false); name == "dead" {
				l.Close()
			}
		}
		if err := os.Chtimes(dir, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("other", filepath.Join(temp, "kwok-ssh-link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Dir(kept), time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	removeStale()
	left, _ := filepath.Glob(filepath.Join(temp, "*"))
	if got := strings.ReplaceAll(strings.Join(left, " "), temp+"/", ""); got != "kwok-ssh-link kwok-ssh-new kwok-ssh-used other" || !exists(kept) {
		t.Errorf("left: %s", got)
	}
}
