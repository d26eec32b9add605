//go:build linux

package process

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kwokctl/runtimes"
)

// The test binary is the product: it runs itself as the supervisor and as fake components.
func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == SuperviseApplet:
		syscall.Exit(superviseFake(os.Args[2])) // os.Exit would sleep for a second in the race detector
	case len(os.Args) > 1 && os.Args[1] == "fake":
		syscall.Exit(fake(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// superviseFake is the supervisor with the periods of the test, which it finds in the cluster directory.
func superviseFake(dir string) int {
	var periods Periods
	if text, err := os.ReadFile(filepath.Join(dir, "periods.json")); err == nil {
		if err := json.Unmarshal(text, &periods); err != nil {
			panic(err)
		}
	}
	if limit, err := os.ReadFile(filepath.Join(dir, "limit")); err == nil {
		n, _ := strconv.ParseUint(string(limit), 10, 64)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			panic(err)
		}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := Supervise(context.Background(), dir, log, periods); err != nil {
		log.Error("supervisor ended", "err", err)
		return 1
	}
	return 0
}

// fake is a component. It answers on the unix socket "<name>:0" unless told otherwise.
func fake(args []string) int {
	var (
		name   = filepath.Base(os.Args[0])
		flags  = flag.NewFlagSet(name, flag.ExitOnError)
		port   = flags.Int("port", 0, "answer here")
		lines  = flags.Int("lines", 0, "lines to print at start")
		die    = flags.Bool("die", false, "exit at start with status 3")
		dieIf  = flags.String("die-if", "", "die if this file exists")
		faints = flags.String("faints", "", "exit when it was seen ready, as often as this file has bytes")
		deaf   = flags.Bool("deaf", false, "ignore SIGTERM")
		slow   = flags.Duration("slow", 0, "time until ready")
		envTo  = flags.String("env-to", "", "write the environment here")
		groupy = flags.Bool("groupy", false, "start a program that ignores SIGTERM")
	)
	_ = flags.Parse(args)
	trace(name, "launched")
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	if err := runtimes.WaitGate(); err != nil {
		trace(name, "gave up")
		return 1
	}
	if err := runtimes.WaitGate(); err != nil { // a second call must do nothing
		panic(err)
	}
	trace(name, "started")
	if *envTo != "" {
		_ = os.WriteFile(*envTo, []byte(strings.Join(os.Environ(), "\n")), 0o600)
	}
	for i := range *lines {
		fmt.Printf("%s line %d\n", name, i)
	}
	if _, err := os.Stat(*dieIf); *die || err == nil {
		return 3
	}
	if *groupy {
		sleeper := []string{"sh", "-c", `trap "" TERM; while :; do sleep 1; done`}
		if _, err := os.StartProcess("/bin/sh", sleeper, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}}); err != nil {
			panic(err)
		}
	}
	time.Sleep(*slow)
	serveFake(name, *port)
	trace(name, "serves")
	if left, err := os.ReadFile(*faints); err == nil && len(left) > 0 {
		if err := os.WriteFile(*faints, left[1:], 0o600); err != nil {
			panic(err)
		}
		<-seen
		return 4
	}
	for range term {
		trace(name, "term")
		if !*deaf {
			time.Sleep(100 * time.Millisecond) // lets a wrong order of ends be seen
			trace(name, "ends")
			return 0
		}
	}
	return 0
}

// seen tells that a fake has said that it is ready.
var seen = make(chan struct{}, 1)

func serveFake(name string, port int) {
	network, address := "unix", name+":0"
	if port != 0 {
		network, address = "tcp", "127.0.0.1:"+strconv.Itoa(port)
	} else {
		_ = os.Remove(address)
	}
	l, err := net.Listen(network, address)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ok := func(http.ResponseWriter, *http.Request) {
		time.AfterFunc(50*time.Millisecond, func() { poke(seen) }) // when the answer has been read
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", ok)
	mux.HandleFunc("/livez", ok)
	go func() { _ = http.Serve(l, mux) }()
}

// trace notes in the cluster directory what happened, in order.
func trace(name, what string) {
	f, err := os.OpenFile("trace", os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s %s\n", name, what)
}

// world is one cluster directory with its runtime.
type world struct {
	*testing.T
	dir   string
	rt    *Runtime
	specs []runtimes.Spec
}

func newWorld(t *testing.T, periods Periods, specs ...runtimes.Spec) *world {
	t.Helper()
	return newWorldIn(t, t.TempDir(), periods, specs...)
}

func newWorldIn(t *testing.T, dir string, periods Periods, specs ...runtimes.Spec) *world {
	t.Helper()
	t.Parallel()
	text, err := json.Marshal(periods)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "periods.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, dir: dir, rt: New(Options{Dir: dir, Self: self}), specs: specs}
	for i := range w.specs {
		w.specs[i].Dir = dir
	}
	t.Cleanup(w.end)
	return w
}

// fakeSpec is the spec of a fake component.
func fakeSpec(name string, needs []string, args ...string) runtimes.Spec {
	return runtimes.Spec{
		Name: name, Needs: needs, Args: append([]string{"fake"}, args...),
		Probe: runtimes.Probe{Ready: "unix://" + name + ":0/readyz"},
	}
}

// chain is etcd, apiserver and two clients.
func chain(args ...string) []runtimes.Spec {
	return []runtimes.Spec{
		fakeSpec("etcd", nil, args...),
		fakeSpec("apiserver", []string{"etcd"}, args...),
		fakeSpec("scheduler", []string{"apiserver"}, args...),
		fakeSpec("kwok", []string{"apiserver"}, args...),
	}
}

// end stops what the test left, and fails when a process of the cluster is left over.
func (w *world) end() {
	if _, err := w.rt.Stop(context.Background(), w.specs, true); err != nil {
		w.Error("stop at the end:", err)
	}
	if left := w.processes(); len(left) > 0 {
		w.Errorf("processes left: %v", left)
	}
	if own, _ := os.ReadFile(filepath.Join(w.dir, logsDir, ownLog)); strings.Contains(string(own), "DATA RACE") {
		w.Error("data race in the supervisor")
	}
	if w.Failed() {
		for _, name := range []string{"trace", "logs/supervisor.log", stateName} {
			text, _ := os.ReadFile(filepath.Join(w.dir, name))
			w.Logf("%s:\n%s", name, text)
		}
	}
}

// processes lists the processes that work in the cluster directory.
func (w *world) processes() []int {
	dir, _ := filepath.EvalSymlinks(w.dir)
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	var pids []int
	for _, link := range links {
		if at, err := os.Readlink(link); err == nil && at == dir {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			if _, err := identify(pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func (w *world) start() error {
	ctx, cancel := context.WithTimeout(w.Context(), 60*time.Second)
	defer cancel()
	return w.rt.Start(ctx, w.specs, nil)
}

func (w *world) mustStart() {
	w.Helper()
	if err := w.start(); err != nil {
		w.Fatal(err)
	}
}

func (w *world) status(name string) runtimes.Status {
	w.Helper()
	list, err := w.rt.Status(w.Context(), []runtimes.Spec{{Name: name}})
	if err != nil {
		w.Fatal(err)
	}
	return list[0]
}

// until waits until a component is as wanted.
func (w *world) until(name string, what string, want func(runtimes.Status) bool) runtimes.Status {
	w.Helper()
	var s runtimes.Status
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(5 * time.Millisecond) {
		if s = w.status(name); want(s) {
			return s
		}
	}
	w.Fatalf("%s is never %s: %+v", name, what, s)
	return s
}

func (w *world) untilState(name string, state runtimes.State) runtimes.Status {
	w.Helper()
	return w.until(name, string(state), func(s runtimes.Status) bool { return s.State == state })
}

func (w *world) read(name string) string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

// supervisorPID asks the supervisor who it is.
func (w *world) supervisorPID() int {
	w.Helper()
	reply, err := w.rt.ask(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return reply.Supervisor.PID
}

// signal sends sig to a process. A process that is stopped by it has stopped when signal returns.
func (w *world) signal(pid int, sig syscall.Signal) {
	w.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		w.Fatal(err)
	}
	for sig == syscall.SIGSTOP {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			w.Fatal(err)
		}
		if strings.HasPrefix(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " T") {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// quick are periods for tests that wait for them.
func quick() Periods {
	return Periods{
		Live: 50 * time.Millisecond, LiveTimeout: 300 * time.Millisecond, Hung: 2 * time.Second, Dump: 500 * time.Millisecond,
		Grace: 400 * time.Millisecond, BackoffFirst: 20 * time.Millisecond, BackoffMost: 200 * time.Millisecond,
	}
}
