package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kwokctl/internal/api"
	"kwokctl/runtimes"
)

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "kwok", "A.b-c_9", strings.Repeat("x", maxName)} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a..b", "/", "a/b", `a\b`, "-a", ".a", "a b", "ä", "a\n", "a\x00", strings.Repeat("x", maxName+1)} {
		if err := CheckName(bad); err == nil {
			t.Errorf("%q is allowed", bad)
		}
	}
}

func testHome(t *testing.T) Home {
	t.Helper()
	h := Home{Dir: filepath.Join(t.TempDir(), "home"), Version: "0.0.0", Log: slog.New(slog.DiscardHandler)}
	if err := h.prepare(); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestPorts reserves clusters beside each other: no port twice, none that is busy.
func TestPorts(t *testing.T) {
	h := testHome(t)
	taken := map[int]string{}
	for _, name := range []string{"a", "b", "c"} {
		c, err := h.reserve(t.Context(), Create{Name: name, Config: api.NewKwokctlConfiguration()})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range c.specs {
			for _, p := range s.Ports {
				if taken[p.Number] != "" {
					t.Errorf("port %d is given to %s and to %s", p.Number, taken[p.Number], name)
				}
				taken[p.Number] = name
			}
		}
	}
	if len(taken) != 12 {
		t.Errorf("3 clusters have %d ports, want 12", len(taken))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	busy, _ := strconv.Atoi(port)
	cfg := api.NewKwokctlConfiguration()
	cfg.Options.KubeApiserverPort = busy
	_, err = h.reserve(t.Context(), Create{Name: "d", Config: cfg})
	if err == nil || !strings.Contains(err.Error(), "port "+port+" for kube-apiserver is busy") {
		t.Errorf("busy port: %v", err)
	}
	if _, err := os.Lstat(h.dir("d")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused cluster has left a directory: %v", err)
	}
}

// TestOpen finds what reserve wrote, and tells what is absent from what is damaged.
// TestRefusedCreate asks for a port that is busy: no directory is left. Others whose directories are taken back before
// they have a lock in them make them again.
func TestRefusedCreate(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	root := t.TempDir()
	h := Home{Dir: filepath.Join(root, "new", "home"), Version: "0.0.0", Log: slog.New(slog.DiscardHandler)}
	cfg := api.NewKwokctlConfiguration()
	cfg.Options.KubeApiserverPort = busy.Addr().(*net.TCPAddr).Port
	if _, _, err := h.Create(t.Context(), Create{Name: "x", Config: cfg}, nil); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("a busy port: %v", err)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("a refused create has left %v, %v", left, err)
	}
	var refused sync.WaitGroup
	for i := range 8 {
		refused.Go(func() {
			for range 100 {
				made := h.missing()
				lock, err := h.lock(t.Context(), "x"+strconv.Itoa(i))
				if err != nil {
					t.Error(err)
					return
				}
				lock.Release()
				giveBack(made)
			}
		})
	}
	refused.Wait()
}

func TestOpen(t *testing.T) {
	h := testHome(t)
	made, err := h.reserve(t.Context(), Create{Name: "a", Config: api.NewKwokctlConfiguration()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	if c.Server() != made.Server() || len(c.Specs()) != 5 {
		t.Errorf("opened %s with %d components, made %s", c.Server(), len(c.Specs()), made.Server())
	}
	if _, err := h.Open("b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("open of nothing: %v", err)
	}
	if err := os.WriteFile(filepath.Join(h.dir("a"), configFile), []byte("kind: Nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Open("a"); !errors.Is(err, ErrDamaged) {
		t.Errorf("open of garbage: %v", err)
	}
	if names, err := h.List(); err != nil || len(names) != 1 {
		t.Errorf("list: %v, %v", names, err)
	}
	for _, name := range []string{"up", "empty"} {
		if err := os.Mkdir(h.dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(h.dir("up"), configFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if foreign, err := h.Foreign(); err != nil || !slices.Equal(foreign, []string{"up"}) {
		t.Errorf("clusters of others: %v, %v", foreign, err)
	}
	if names, err := h.List(); err != nil || len(names) != 1 {
		t.Errorf("list beside those of others: %v, %v", names, err)
	}
}

func TestLateness(t *testing.T) {
	l := lateness{seen: map[string]runtimes.State{}}
	l.note(runtimes.Status{Name: "etcd", State: runtimes.Ready})
	l.note(runtimes.Status{Name: "kube-scheduler", State: runtimes.Starting})
	err := l.explain(&TimeoutError{"wait for cluster x", time.Second})
	if want := "wait for cluster x: not done within 1s: kube-scheduler is Starting"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if other := errors.New("other"); l.explain(other) != other {
		t.Error("an error that is not about time was changed")
	}
}

// FuzzName holds that a name that is allowed is one element of a path below the clusters, and no hidden one.
func FuzzName(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a", "a/b", `a\b`, "a\x00b", "-a", "a..b", "kwok", "ä", "a b", strings.Repeat("a", 51), "/etc", "a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		if filepath.Base(filepath.Join("/x", name)) != name || filepath.Dir(filepath.Join("/x", name)) != "/x" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") || len(name) > maxName {
			t.Fatalf("%q is allowed", name)
		}
	})
}

// TestWaves holds that the controller-manager waits for the others when there are many objects, and not otherwise.
func TestWaves(t *testing.T) {
	for size, want := range map[int64]int{0: 0, manyObjects: 0, manyObjects + 1: 1} {
		c := stopped(t, map[string]string{"etcd/member/snap/db": ""})
		if err := os.Truncate(filepath.Join(c.Dir, "etcd", "member", "snap", "db"), size); err != nil {
			t.Fatal(err)
		}
		if err := c.plan(nil); err != nil {
			t.Fatal(err)
		}
		first, then := c.waves()
		if len(first)+len(then) != 5 || len(then) != want || want > 0 && then[0].Name != "kube-controller-manager" {
			t.Errorf("%d bytes: %d start first, and then %v", size, len(first), then)
		}
	}
}

// TestFirstPort holds that clusters of different work directories, which know nothing of each other, rarely look for
// ports at the same place.
func TestFirstPort(t *testing.T) {
	seen := map[int]bool{}
	for i := range 1000 {
		first := Home{Dir: fmt.Sprintf("/home/user%d/.kwok", i)}.firstPort()
		if first <= minPort || first > maxPort {
			t.Fatalf("port %d, want one of %d to %d", first, minPort+1, maxPort)
		}
		seen[first] = true
	}
	if len(seen) < 950 {
		t.Errorf("1,000 directories begin at %d ports", len(seen))
	}
}
