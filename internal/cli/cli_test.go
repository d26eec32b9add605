package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kwokctl/internal/cluster"
	"kwokctl/runtimes"
)

// execute runs a command line in a home of its own.
func execute(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	home := t.TempDir()
	status = Main(args, Env{In: strings.NewReader(""), Out: &out, Err: &errs, Version: "v1.2.3",
		Getenv: func(key string) string { return map[string]string{"HOME": home}[key] },
		Applet: func(string, []string) int { return 0 }})
	return status, out.String(), errs.String()
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		args   string
		status int
		says   string // on stdout or stderr
	}{
		{"", 0, "Start simulated Kubernetes clusters"},
		{"--version", 0, "kwokctl version v1.2.3"},
		{"get", 0, "List clusters"},
		{"get clusters", 0, ""},
		{"nonsense", 1, `unknown command "nonsense" for "kwokctl"; there are`},
		{"get nonsense", 1, `unknown command "nonsense" for "kwokctl get"`},
		{"get clusters --nonsense", 1, "unknown flag: --nonsense; kwokctl get clusters --help lists them"},
		{"get clusters --nmae x", 1, "unknown flag: --nmae; did you mean --name?"},
		{"creat cluster", 1, `unknown command "creat" for "kwokctl"; did you mean create?`},
		{"create cluster x y", 1, `got arguments ["x" "y"], want: kwokctl create cluster`},
		{"get clusters -o nonsense", 1, `-o "nonsense": allowed are name, wide, json, yaml`},
		{"get components", 1, `cluster "kwok": no such cluster`},
		{"get components --name a/b", 1, `cluster name "a/b": allowed are`},
		{"create cluster --wait nonsense", 1, `--wait "nonsense": want a duration such as`},
		{"logs", 1, "got no arguments, want: kwokctl logs COMPONENT"},
		{"-v nonsense get clusters", 1, `-v "nonsense": allowed are DEBUG`},
		{"delete cluster", 0, "There is no cluster kwok"},
		{"kubectl get nodes", 1, `cluster "kwok": no such cluster`},
	} {
		status, out, errs := execute(t, strings.Fields(tt.args)...)
		if status != tt.status || !strings.Contains(out+errs, tt.says) {
			t.Errorf("kwokctl %s: status %d, want %d and %q\n%s%s", tt.args, status, tt.status, tt.says, out, errs)
		}
		if status != 0 && strings.Count(errs, "\n") != 1 {
			t.Errorf("kwokctl %s: the error is not one line:\n%s", tt.args, errs)
		}
	}
}

func TestExitStatus(t *testing.T) {
	late := &cluster.TimeoutError{What: "x", Time: time.Second}
	for err, want := range map[error]int{
		nil:                    0,
		errors.New("x"):        1,
		statusError(7):         7,
		errInterrupted:         130,
		fmt.Errorf("%w", late): 124,
		errors.Join(errInterrupted, errors.New("undo")): 130,
	} {
		if got := exitStatus(err); got != want {
			t.Errorf("%v: status %d, want %d", err, got, want)
		}
	}
}

func TestSummary(t *testing.T) {
	for states, want := range map[string]string{
		"Ready Ready":     "Ready 2/2",
		"Ready Starting":  "NotReady 1/2",
		"Stopped Stopped": "Stopped 0/2",
		"Ready CrashLoop": "CrashLoop 1/2",
		"Ready Stopped":   "NotReady 1/2",
	} {
		var list []runtimes.Status
		for _, s := range strings.Fields(states) {
			list = append(list, runtimes.Status{State: runtimes.State(s)})
		}
		word, ready, total := summary(list)
		if got := fmt.Sprintf("%s %d/%d", word, ready, total); got != want {
			t.Errorf("%s: got %s, want %s", states, got, want)
		}
	}
}

// TestProgress shows what is printed where lines cannot be redrawn: one for each that is done.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&Env{Err: &out, Getenv: func(string) string { return "" }}, "Creating")
	for _, s := range []runtimes.Status{
		{Name: "etcd", State: runtimes.Starting},
		{Name: "etcd", State: runtimes.Ready, Took: 120 * time.Millisecond},
		{Name: "etcd", State: runtimes.Ready, Took: 120 * time.Millisecond},
		{Name: "kube-apiserver", State: runtimes.Exited, Reason: "exit status 1"},
	} {
		p.observe(s)
	}
	p.end()
	if want := "Creating\n  etcd ready (0.12s)\n  kube-apiserver exit status 1\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestReplaceHost(t *testing.T) {
	for host, want := range map[string]string{
		"":          "https://127.0.0.1:6443",
		"::1":       "https://[::1]:6443",
		"h":         "https://h:6443",
		"h:1":       "https://h:1",
		"127.0.0.1": "https://127.0.0.1:6443",
	} {
		if got, err := replaceHost("https://127.0.0.1:6443", host); err != nil || got != want {
			t.Errorf("%q: got %s, %v; want %s", host, got, err, want)
		}
	}
}

func TestInWords(t *testing.T) {
	for text, want := range map[string]string{
		`read x: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\"" }`: "read x: want an object, not string",
		`json: cannot unmarshal string into Go value of type v1.Policy`:                                "want an object, not string",
		`cannot unmarshal number 1.5 into Go struct field Options.options.count of type int; and more`: "options.count: want a whole number, not number 1.5; and more",
		`cannot unmarshal object into Go struct field A.list of type []string`:                         "list: want a list, not object",
		`invalid value of X=maybe, err: strconv.ParseBool: parsing "maybe": invalid syntax`:            `invalid value of X=maybe, err: "maybe": want true or false`,
		`strconv.ParseFloat: parsing "x": invalid syntax`:                                              `"x": want a number`,
		`nothing of the kind`: `nothing of the kind`,
	} {
		if got := inWords(text); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestJoinLevel(t *testing.T) {
	for text, want := range map[string]string{
		"-v -4 get clusters": "-v=-4 get clusters", "get clusters --v -4": "get clusters --v=-4", "-v 4 get": "-v 4 get", "-v -x": "-v -x",
		"-v": "-v", "kubectl -v -4": "kubectl -v -4", "-v -1 -v -2": "-v=-1 -v=-2", "a -- -v -4": "a -- -v -4",
	} {
		if got := strings.Join(joinLevel(strings.Fields(text)), " "); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
