package cli

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/scale"
)

func TestCommandsRefuse(t *testing.T) {
	for _, tt := range []struct {
		args   string
		status int
		says   string
	}{
		{"scale", 1, "want: kwokctl scale KIND"},
		{"scale node --replicas x", 1, `--replicas "x": want a whole number`},
		{"scale node --pool x", 1, "not key=value"},
		{"scale node --pool name=a,size=3", 1, "there are name, replicas, zone"},
		{"scale node data --pool name=a", 1, "neither NAME nor --replicas"},
		{"scale node --replicas 3 --pool name=a", 1, "neither NAME nor --replicas"},
		{"scale node --pool name=a --pool name=a", 1, "there are two of that name"},
		{"scale node -c /nowhere", 1, "/nowhere"},
		{"port-forward etcd", 1, "want: kwokctl port-forward COMPONENT LOCAL:PORT"},
		{"port-forward etcd x:1", 1, "LOCAL:PORT"},
		{"port-forward etcd -1:1", 1, "unknown shorthand flag"},
		{"port-forward etcd 70000:http", 1, "LOCAL:PORT"},
		{"port-forward etcd 1:", 1, "no PORT"},
		{"port-forward etcd 1:http", 1, "no such cluster"},
		{"export logs a b", 1, "want: kwokctl export logs [DIR]"},
		{"export logs", 1, "no such cluster"},
		{"start component", 1, "want: kwokctl start component COMPONENT"},
		{"stop component etcd", 1, "no such cluster"},
		{"get kubeconfig --user=", 1, "--user: must not be empty"},
		{"get artifacts --filter x", 1, "allowed are binary, image, manifest"},
		{"get artifacts -o x", 1, "allowed are name, wide, json, yaml"},
		{"doctor -o x", 1, "allowed are name, wide, json, yaml"},
		{"doctor --name nobody", 1, "no such cluster"},
		{"doctor --name a/b", 1, "allowed are"},
		{"kectl get no", 1, "no such cluster"},
		{"hack get no", 1, "no such cluster"},
		{"help nosuch", 1, `unknown command "nosuch" for "kwokctl"; there are audit, completion, `},
		{"help create clutser", 1, `unknown command "clutser" for "kwokctl create"; did you mean cluster?`},
		{"completion tcsh", 1, `unknown command "tcsh" for "kwokctl completion"; did you mean bash?`},
		{"get clusters -c /nowhere", 1, "read configuration: stat /nowhere: no such file"},
		{"-c /nowhere kubectl get nodes", 1, "read configuration: stat /nowhere: no such file"},
		{"kubectl get nodes -c /nowhere", 1, "no such cluster"},
		{"get artifacts --runtime x", 1, `runtime "x": allowed are`},
		{"config view -o nonsense", 1, "unknown shorthand flag: 'o'"},
		{"snapshot export --path /nowhere/y --kubeconfig /nowhere/k", 1, "/nowhere"},
		{"kubectl exec x -- ls --help", 1, "no such cluster"},
	} {
		status, _, errs := execute(t, strings.Fields(tt.args)...)
		if status != tt.status || !strings.Contains(errs, tt.says) || strings.Count(errs, "\n") != 1 {
			t.Errorf("kwokctl %s: status %d, want %d and %q\n%s", tt.args, status, tt.status, tt.says, errs)
		}
	}
	if status, _, errs := execute(t, "get", "clusters", "-c", "a\nb"); status != 1 || !strings.Contains(errs, `--config "a\nb": want one line`) {
		t.Errorf("two lines: status %d\n%s", status, errs)
	}
	for _, args := range []string{"kubectl", "kubectl --help", "etcdctl get -h", "kectl help get", "export logs --help", "help", "help create cluster", "help kubectl get"} {
		if status, _, errs := execute(t, strings.Fields(args)...); status != 0 {
			t.Errorf("kwokctl %s: status %d\n%s", args, status, errs)
		}
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	file := scaleDocs{pools: []*api.NodePool{{Metadata: api.ObjectMeta{Name: "a"}, Replicas: 3}}}
	for _, tt := range []struct {
		name  string
		docs  scaleDocs
		flags []string
		plain bool
		want  string
	}{
		{"no pools", scaleDocs{}, nil, false, "node"},
		{"pools of a file", file, nil, false, "a"},
		{"a file beside a name", file, nil, true, "node"}, // it may be there for its templates
		{"flags and a file", file, []string{"name=b"}, false, "a b"},
	} {
		jobs, err := tt.docs.jobs(scale.Job{Kind: "node", Name: "node"}, tt.flags, tt.plain)
		var names []string
		for _, j := range jobs {
			names = append(names, j.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestParseForward(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		local int
		port  string
	}{"8080:http": {8080, "http"}, ":http": {0, "http"}, "0:1": {0, "1"}, "9090": {9090, "9090"}} {
		local, port, err := parseForward(text)
		if local != want.local || port != want.port || err != nil {
			t.Errorf("%q: %d, %q, %v", text, local, port, err)
		}
	}
}

func TestForward(t *testing.T) {
	t.Parallel()
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	go func() { // says back what it hears, once it has heard all
		for {
			c, err := far.Accept()
			if err != nil {
				return
			}
			text, _ := io.ReadAll(c)
			slices.Reverse(text)
			_, _ = c.Write(text)
			c.Close()
		}
	}()
	near, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- forward(ctx, near, func(ctx context.Context) (net.Conn, error) { return net.Dial("tcp", far.Addr().String()) }, func(error) {})
	}()
	for range 3 {
		c, err := net.Dial("tcp", near.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("abc"))
		_ = c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); string(got) != "cba" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		c.Close()
	}
	open, err := net.Dial("tcp", near.Addr().String()) // one that is in use does not hold up the end
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
}
