// Package e2e holds tests on real clusters. Its test binary is the product: it runs itself as kwokctl and as every
// embedded program.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kwokctl/internal/applet"
	"kwokctl/internal/cli"
)

func TestMain(m *testing.M) {
	if run, ok := applet.Called(os.Args[0]); ok {
		os.Exit(run())
	}
	switch filepath.Base(os.Args[0]) {
	case "netless":
		os.Exit(netless(os.Args[1:]))
	case "jaeger":
		os.Exit(jaegerDouble())
	case "prometheus":
		os.Exit(prometheusDouble())
	case "metrics-server":
		os.Exit(metricsDouble())
	case "dashboard", "kueueviz-backend", "kueueviz-frontend", "node-readiness-controller":
		os.Exit(viewerDouble(filepath.Base(os.Args[0])))
	case "jobset", "manager":
		os.Exit(managerDouble())
	}
	if filepath.Base(os.Args[0]) == "kwokctl" {
		os.Exit(cli.Main(os.Args[1:], cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Environ: os.Environ, Version: "v0.0.0-e2e",
			Applet: applet.Run, Check: cli.Check{SchedulerConfig: applet.CheckSchedulerConfig, FeatureGates: applet.CheckFeatureGates, RuntimeConfig: applet.CheckRuntimeConfig, Args: applet.CheckArgs}}))
	}
	os.Exit(m.Run())
}

// world is a user's account of its own: work directory, kubeconfig, environment.
type world struct {
	t    testing.TB
	dir  string // KWOK_WORKDIR
	home string
	env  []string
	// runtime of the clusters that are created; "" is the default.
	runtime string
	// socket is where its engine listens; "" is where the environment says.
	socket string
}

// newWorld makes a world that is checked at the end of the test: no process and no cluster may be left.
func newWorld(t testing.TB) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real clusters")
	}
	home := t.TempDir()
	w := &world{t: t, home: home, dir: filepath.Join(home, ".kwok")}
	if err := os.Symlink(self(t), filepath.Join(home, "kwokctl")); err != nil {
		t.Fatal(err)
	}
	w.env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", "KWOK_WORKDIR=" + w.dir, "KUBECONFIG=" + w.kubeconfig()}
	t.Cleanup(func() {
		if r := w.run("delete", "cluster", "--all"); r.code != 0 {
			t.Errorf("delete all: exit status %d: %s", r.code, r.stderr)
		}
		w.noLeak()
	})
	return w
}

func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) kubeconfig() string { return filepath.Join(w.home, "kubeconfig") }

// cluster returns the directory of a cluster.
func (w *world) cluster(name string) string { return filepath.Join(w.dir, "clusters", name) }

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int
	took           time.Duration
}

// command prepares a run of kwokctl.
func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	if w.runtime != "" && len(args) > 1 && args[0] == "create" && args[1] == "cluster" {
		args = append(args, "--runtime", w.runtime)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(w.home, "kwokctl"), args...)
	cmd.Env, cmd.Dir = w.env, w.home
	return cmd
}

// run runs kwokctl to its end, at most three minutes.
func (w *world) run(args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	return w.finish(w.command(ctx, args...))
}

func (w *world) finish(cmd *exec.Cmd) result {
	w.t.Helper()
	return w.begin(cmd).wait()
}

// running is a command at work.
type running struct {
	w         *world
	cmd       *exec.Cmd
	out, errs bytes.Buffer
	began     time.Time
}

func (w *world) begin(cmd *exec.Cmd) *running {
	w.t.Helper()
	r := &running{w: w, cmd: cmd, began: time.Now()}
	cmd.Stdout, cmd.Stderr = &r.out, &r.errs
	if err := cmd.Start(); err != nil {
		w.t.Fatalf("%v: %v", cmd.Args, err)
	}
	return r
}

// wait waits for the end. The code of a command that a signal killed is -1.
func (r *running) wait() result {
	r.w.t.Helper()
	err := r.cmd.Wait()
	res := result{stdout: r.out.String(), stderr: r.errs.String(), took: time.Since(r.began)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		res.code = exit.ExitCode()
	case err != nil:
		r.w.t.Fatalf("%v: %v", r.cmd.Args, err)
	}
	return res
}

// ok runs kwokctl, which must succeed, and returns what it printed.
func (w *world) ok(args ...string) string {
	w.t.Helper()
	r := w.run(args...)
	if r.code != 0 {
		w.t.Fatalf("kwokctl %s: exit status %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// fails runs kwokctl, which must fail with this status and these words, and returns how it went.
func (w *world) fails(code int, words []string, args ...string) result {
	w.t.Helper()
	r := w.run(args...)
	if r.code != code {
		w.t.Errorf("kwokctl %s: exit status %d, want %d\n%s", strings.Join(args, " "), r.code, code, r.stderr)
	}
	for _, word := range words {
		if !strings.Contains(r.stderr, word) {
			w.t.Errorf("kwokctl %s: %q is not in its message:\n%s", strings.Join(args, " "), word, r.stderr)
		}
	}
	return r
}

// create makes a cluster, ready to use.
func (w *world) create(name string, args ...string) {
	w.t.Helper()
	w.ok(append([]string{"create", "cluster", "--name", name, "--wait", "120s"}, args...)...)
}

// kubectl runs kubectl on a cluster.
func (w *world) kubectl(name string, args ...string) string {
	w.t.Helper()
	return w.ok(append([]string{"--name", name, "kubectl"}, args...)...)
}

// apply sends YAML to a cluster.
func (w *world) apply(name, manifest string) {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.kubectl(name, "apply", "-f", path)
}

// component is what get components says of one.
type component struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	PID      int    `json:"pid"`
	Restarts int    `json:"restarts"`
	ExitCode *int   `json:"exitCode"`
	Reason   string `json:"reason"`
	LastExit string `json:"lastExit"`
}

func (w *world) components(name string) map[string]component {
	w.t.Helper()
	var list []component
	if err := json.Unmarshal([]byte(w.ok("get", "components", "--name", name, "-o", "json")), &list); err != nil {
		w.t.Fatal(err)
	}
	all := map[string]component{}
	for _, c := range list {
		all[c.Name] = c
	}
	return all
}

// status is the word get clusters has for a cluster; "" when it has none.
func (w *world) status(name string) string {
	w.t.Helper()
	var list []struct{ Name, Status string }
	if err := json.Unmarshal([]byte(w.ok("get", "clusters", "-o", "json")), &list); err != nil {
		w.t.Fatal(err)
	}
	for _, c := range list {
		if c.Name == name {
			return c.Status
		}
	}
	return ""
}

// processes returns the processes that work in this world, by pid, with their command lines. Those are known by
// their working directory.
func (w *world) processes() map[int]string {
	all := map[int]string{}
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		cwd, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(cwd, w.dir) {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if len(args) > 0 { // else it is a zombie that its parent has yet to see
			all[pid] = strings.ReplaceAll(string(args), "\x00", " ")
		}
	}
	return all
}

// supervisor returns the pid of the supervisor of a cluster.
func (w *world) supervisor(name string) int {
	w.t.Helper()
	for pid, args := range w.processes() {
		cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if strings.HasPrefix(args, "supervise ") && cwd == w.cluster(name) {
			return pid
		}
	}
	w.t.Fatalf("cluster %s has no supervisor", name)
	return 0
}

// noLeak fails the test when anything of this world is left.
func (w *world) noLeak() {
	w.t.Helper()
	if left := w.processes(); len(left) > 0 {
		w.t.Errorf("processes are left: %v", left)
		for pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "clusters", "*")); len(left) > 0 {
		w.t.Errorf("directories are left: %v", left)
	}
	w.noContainers()
}

// eventually waits until a condition holds.
func (w *world) eventually(within time.Duration, what string, holds func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(within)
	for !holds() {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within %s", what, within)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// read returns the content of a file, "" when it is not there.
func read(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}
