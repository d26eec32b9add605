package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kwokctl/internal/cluster"
)

// misuse is a command line that is wrong, and words that its one line must hold.
type misuse struct {
	args  string // separated by "|"
	words string // separated by "|"
}

var misuses = []misuse{
	// Names.
	{"create|cluster|--name|", "name is empty"},
	{"create|cluster|--name|..", `".."|allowed`},
	{"create|cluster|--name|.", `"."|allowed`},
	{"create|cluster|--name|a/b", `"a/b"|allowed`},
	{"create|cluster|--name|../../etc", `"../../etc"|allowed`},
	{"create|cluster|--name|/etc", `"/etc"|allowed`},
	{"create|cluster|--name|-x", `"-x"|allowed`},
	{"create|cluster|--name|.hidden", `".hidden"|allowed`},
	{"create|cluster|--name|a..b", `"a..b"|allowed`},
	{"create|cluster|--name|a b", `"a b"|allowed`},
	{"create|cluster|--name|a\nb", `"a\nb"|allowed`},
	{"create|cluster|--name|\x1b[31m", `"\x1b[31m"|allowed`},
	{"create|cluster|--name|köln", `"köln"|allowed`},
	{"create|cluster|--name|$(id)", `"$(id)"|allowed`},
	{"create|cluster|--name|*", `"*"|allowed`},
	{"create|cluster|--name|" + strings.Repeat("x", 51), "51|50"},
	{"create|cluster|--name|" + strings.Repeat("x", 5000), "5000|50"},
	{"delete|cluster|--name|..", `".."|allowed`},
	{"delete|cluster|--name|../..", `"../.."|allowed`},
	{"start|cluster|--name|a/b", `"a/b"|allowed`},
	{"stop|cluster|--name|a/b", `"a/b"|allowed`},
	{"get|components|--name|../x", `"../x"|allowed`},
	{"get|kubeconfig|--name|../x", `"../x"|allowed`},
	{"logs|etcd|--name|../x", `"../x"|allowed`},
	{"--name|../x|kubectl|get|nodes", `"../x"|allowed`},
	{"--name|../x|etcdctl|get|x", `"../x"|allowed`},
	{"scale|node|--name|../x", `"../x"|allowed`},
	// Clusters that are not there.
	{"start|cluster|--name|nobody", `"nobody"`},
	{"stop|cluster|--name|nobody", `"nobody"`},
	{"get|components|--name|nobody", `"nobody"`},
	{"get|kubeconfig|--name|nobody", `"nobody"`},
	{"logs|etcd|--name|nobody", `"nobody"`},
	{"scale|node|--name|nobody", `"nobody"`},
	{"--name|nobody|kubectl|get|nodes", `"nobody"`},
	{"--name|nobody|etcdctl|get|x", `"nobody"`},
	// Commands, arguments and flags.
	{"creat", `"creat"|create`},
	{"create|clusters", `"clusters"|cluster`},
	{"get|nodes", `"nodes"|components`},
	{"create|cluster|x", `"x"`},
	{"start|cluster|x", `"x"`},
	{"delete|cluster|x", `"x"`},
	{"logs", "arg"},
	{"logs|etcd|x", "arg"},
	{"scale", "arg"},
	{"scale|a|b|c", "arg"},
	{"create|cluster|--no-such-flag", "--no-such-flag"},
	{"create|cluster|-z", "'z'"},
	{"create|cluster|--name", "--name"},
	{"get|clusters|-o|xml", `"xml"|name, wide, json, yaml`},
	{"get|components|-o|", `""|name, wide, json, yaml`},
	{"get|clusters|-v|LOUD", `"LOUD"|DEBUG`},
	{"create|cluster|-v|", `""|DEBUG`},
	{"create|cluster|--wait|banana", "banana|--wait"},
	{"create|cluster|--wait|10", "10|--wait"},
	{"create|cluster|--wait|-5s", "--wait|-5s"},
	{"create|cluster|--timeout|-1s", "--timeout|-1s"},
	{"start|cluster|--timeout|1y", "1y|--timeout"},
	{"create|cluster|--retain=perhaps", "perhaps|--retain"},
	// Options of a cluster.
	{"create|cluster|--kube-apiserver-port|70000", "70000|kube-apiserver-port|65535"},
	{"create|cluster|--kube-apiserver-port|-1", "-1|kube-apiserver|65535"},
	{"create|cluster|--kube-apiserver-port|x", `"x"|--kube-apiserver-port`},
	{"create|cluster|--etcd-port|65536", "65536|etcd|65535"},
	{"create|cluster|--controller-port|-80", "-80|controller-port|65535"},
	{"create|cluster|--kube-scheduler-port|99999999999999999999", "99999999999999999999|--kube-scheduler-port"},
	{"create|cluster|--kube-apiserver-port|7777|--etcd-port|7777", "7777"},
	{"create|cluster|--node-lease-duration-seconds|-1", "-1"},
	{"create|cluster|--enable|no-such-component", `"no-such-component"|kube-scheduler`},
	{"create|cluster|--components|etcd,kube-apiserver,nobody", `"nobody"|kube-scheduler`},
	{"create|cluster|--disable|nobody", `"nobody"|kube-scheduler`},
	{"create|cluster|--disable|etcd", "etcd"},
	{"create|cluster|--components|kube-scheduler", "etcd"},
	{"create|cluster|--extra-args|v", `"v"|component=key=value`},
	{"create|cluster|--extra-args|etcd=v", `"etcd=v"|component=key=value`},
	{"create|cluster|--extra-args|etcd==v", `"etcd==v"|component=key=value`},
	{"create|cluster|--extra-args|nobody=v=1", `"nobody"|kube-scheduler`},
	{"create|cluster|--disable|kube-scheduler|--extra-args|kube-scheduler=v=1", `"kube-scheduler"`},
	{"create|cluster|--extra-args|etcd=no-such-flag=1", "extra arguments of etcd: |no-such-flag"},
	{"create|cluster|--extra-args|etcd=heartbeat-interval=soon", `etcd|"soon"|heartbeat-interval`},
	{"create|cluster|--extra-args|kube-apiserver=no-such-flag=1", "kube-apiserver|--no-such-flag"},
	{"create|cluster|--extra-args|kube-apiserver=max-requests-inflight=x", `kube-apiserver|"x"|--max-requests-inflight`},
	{"create|cluster|--extra-args|kube-apiserver=enable-admission-plugins=Nobody", `enable-admission-plugins|"Nobody"`},
	{"create|cluster|--extra-args|kube-apiserver=authorization-mode=Nobody", `authorization-mode|"Nobody"`},
	{"create|cluster|--extra-args|kube-apiserver=secure-port=4567", "kube-apiserver|--secure-port|--kube-apiserver-port"},
	{"create|cluster|--extra-args|kwok-controller=server-address=127.0.0.1:4567", "kwok-controller|--server-address"},
	{"create|cluster|--extra-args|kube-apiserver=bind-address=::1", "kube-apiserver|--bind-address|bindAddress"},
	{"create|cluster|--extra-args|kube-controller-manager=no-such-flag=1", "kube-controller-manager|--no-such-flag"},
	{"create|cluster|--extra-args|kube-controller-manager=controllers=*,-nobody", `--controllers|"nobody"`},
	{"create|cluster|--extra-args|kube-controller-manager=node-monitor-period=5", `"5"|--node-monitor-period`},
	{"create|cluster|--extra-args|kube-scheduler=leader-elect=maybe", `kube-scheduler|"maybe"|true or false`},
	{"create|cluster|--extra-args|kwok-controller=no-such-flag=1", "kwok-controller|--no-such-flag"},
	// Files.
	{"create|cluster|-c|missing.yaml", "missing.yaml"},
	{"create|cluster|-c|directory", "directory|no kustomization"},
	{"create|cluster|-c|fifo", "fifo|regular file"},
	{"create|cluster|-c|field.yaml", "field.yaml:7|noSuchField"},
	{"create|cluster|-c|option.yaml", "option.yaml:4|noSuchOption"},
	{"create|cluster|-c|type.yaml", "type.yaml:4|etcdPort"},
	{"create|cluster|-c|kind.yaml", "kind.yaml:2|Stagee"},
	{"create|cluster|-c|syntax.yaml", "syntax.yaml"},
	{"create|cluster|-c|binary.yaml", "binary.yaml"},
	{"create|cluster|-c|bomb.yaml", "bomb.yaml"},
	{"create|cluster|-c|port.yaml", "port.yaml:4|etcdPort 70000|65535"},
	{"create|cluster|--kubeconfig|directory", "directory"},
	{"create|cluster|--kubeconfig|syntax.yaml", "syntax.yaml"},
	{"create|cluster|--kubeconfig|syntax.yaml/config", "syntax.yaml"},
	{"create|cluster|--kubeconfig|/proc/x/y", "kubeconfig|/proc/x/y|/proc: "},
	{"get|clusters|-c|missing.yaml", "read configuration|missing.yaml"},
	{"-c|missing.yaml|kubectl|get|nodes", "read configuration|missing.yaml"},
	{"get|artifacts|--filter|x", `"x"|binary, image, manifest`},
	{"config|view|-o|nonsense", "'o'"},
	{"completion|nosuch", `"nosuch"|bash`},
	{"snapshot|export|--path|x.yaml|--kubeconfig|missing.yaml", "missing.yaml|no such file"},
	{"snapshot|export|--path|x.yaml|--kubeconfig|port.yaml", "port.yaml|KwokctlConfiguration"},
	{"snapshot|export|--path|x.yaml|--kubeconfig|directory", "directory|is a directory"},
}

// inputs are files for them, made in the home of the world.
var inputs = map[string]string{
	"field.yaml": `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: x}
spec:
  resourceRef: {kind: Pod}
  noSuchField: 1
`,
	"option.yaml": "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokctlConfiguration\noptions:\n  noSuchOption: 1\n",
	"type.yaml":   "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokctlConfiguration\noptions:\n  etcdPort: many\n",
	"port.yaml":   "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokctlConfiguration\noptions:\n  etcdPort: 70000\n",
	"kind.yaml":   "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: Stagee\nmetadata: {name: x}\n",
	"syntax.yaml": "a: [1, 2\nb: {\n",
	"binary.yaml": "\x7fELF\x02\x01\x01\x00\x00\xff\xfe",
	"bomb.yaml": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
		"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n" +
		"g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n",
}

// TestMisuse runs wrong command lines. Each is refused at once, in one line, and writes nothing.
func TestMisuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, text := range inputs {
		write(t, filepath.Join(w.home, name), text)
	}
	if err := os.Mkdir(filepath.Join(w.home, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(w.home, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(w.home)
	for _, tt := range misuses {
		r := w.run(strings.Split(tt.args, "|")...)
		w.oneLine(tt.args, r, strings.Split(tt.words, "|")...)
		if r.took > 2*time.Second {
			t.Errorf("%s: took %s", tt.args, r.took)
		}
		if now := tree(w.home); len(differ(before, now)) > 0 {
			t.Errorf("%s: written: %.300q", tt.args, differ(before, now))
			before = now
		}
	}
	if len(w.processes()) > 0 {
		t.Errorf("processes: %v", w.processes())
	}
	if err := cluster.CheckName("a\x00b"); err == nil { // no command line can hold it
		t.Error("a name with a NUL is accepted")
	}
}

// TestMisuseOfCluster runs wrong command lines on a cluster that is there.
func TestMisuseOfCluster(t *testing.T) { inProcessesAndContainers(t, testMisuseOfCluster) }

func testMisuseOfCluster(t *testing.T, w *world) {
	w.create("kwok")
	for _, tt := range []misuse{
		{"scale|node|--replicas|-1", "replicas -1|0 to 10000000"},
		{"scale|node|--replicas|x", `"x"|--replicas`},
		{"scale|unicorn|--replicas|1", "unicorn|node"},
		{"scale|node|Bad_Name|--replicas|1", "Bad_Name"},
		{"scale|node|--serial-length|-1", "-1"},
		{"scale|node|--replicas|1|--param|.a = ", "param"},
		{"scale|node|-c|missing.yaml", "missing.yaml"},
		{"logs|nobody", `"nobody"|kube-scheduler|audit`},
		{"get|kubeconfig|--host|a b:c:d", "a b"},
		{"get|kubeconfig|--host|x:99999", "x:99999|65535"},
		{"get|kubeconfig|--host|x:abc", "x:abc|65535"},
		{"get|kubeconfig|--host|:443", ":443|65535"},
		{"get|kubeconfig|--user|a\nb", "--user|one line"},
		{"get|kubeconfig|--group|" + strings.Repeat("x", 70_000), "--group|512"},
		{"kectl|get|--command-timeout|-1s", "--command-timeout -1s"},
		{"kectl|get|pods|nobody", `pods "nobody": not in etcd`},
		{"kectl|get|--dial-timeout|200ms|--endpoints|http://127.0.0.1:1", "http://127.0.0.1:1"},
	} {
		r := w.run(strings.Split(tt.args, "|")...)
		w.oneLine(tt.args, r, strings.Split(tt.words, "|")...)
		if r.took > 2*time.Second {
			t.Errorf("%s: took %s", tt.args, r.took)
		}
	}
	if got := w.kubectl("kwok", "get", "nodes,pods", "-A", "-o", "name"); got != "" {
		t.Errorf("wrong commands made %q", got)
	}
}
