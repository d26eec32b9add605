package kubeconfig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

func entry(name string) Entry {
	return Entry{Name: name, Server: "https://127.0.0.1:32764", CA: []byte("ca"), Cert: []byte("cert"), Key: []byte("key")}
}

// foreign is a file as kubectl writes it, with a field no one knows.
const foreign = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://192.0.2.1:6443
  name: prod
contexts:
- context:
    cluster: prod
    extensions:
    - extension:
        last-update: Fri
      name: context_info
    namespace: web
    user: alice
  name: prod
current-context: prod
kind: Config
preferences: {}
users:
- name: alice
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: login
      future: [1, 2.50]
`

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func content(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// current reads the file as kubectl does.
func current(t testing.TB, path string) string {
	t.Helper()
	cfg, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.CurrentContext
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	must(t, os.WriteFile(b, nil, 0o600))
	must(t, Add(t.Context(), c, entry("kwok-c"), true))
	sep := string(filepath.ListSeparator)
	for _, tt := range []struct {
		name, flag string
		set        bool
		env        map[string]string
		want       string
		holding    string // the file for kwok-c, if another
		bad        bool
	}{
		{name: "flag", flag: a, set: true, env: map[string]string{"KUBECONFIG": b}, want: a},
		{name: "flag empty", set: true, env: map[string]string{"KUBECONFIG": b}, want: ""},
		{name: "one", env: map[string]string{"KUBECONFIG": a, "HOME": dir}, want: a},
		{name: "first existing", env: map[string]string{"KUBECONFIG": a + sep + sep + b + sep + c}, want: b, holding: c},
		{name: "none existing", env: map[string]string{"KUBECONFIG": a + sep + a + "2"}, want: a + "2"},
		{name: "only separators", env: map[string]string{"KUBECONFIG": sep, "HOME": dir}, want: dir + "/.kube/config"},
		{name: "home", env: map[string]string{"HOME": dir}, want: filepath.Join(dir, ".kube", "config")},
		{name: "nothing", bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			env := func(k string) string { return tt.env[k] }
			got, err := Path(tt.flag, tt.set, env)
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
			if tt.holding == "" {
				tt.holding = tt.want
			}
			if got, err := Holding("kwok-c", tt.flag, tt.set, env); got != tt.holding || (err != nil) != tt.bad {
				t.Errorf("holding %q, %v; want %q", got, err, tt.holding)
			}
		})
	}
}

func TestAddRemoveRestoresEveryByte(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"kubectl": foreign,
		"comment": "# mine\n" + strings.Replace(foreign, "kind: Config\n", "kind: Config # yes\n", 1),
		"wide":    "clusters:\n  - cluster:\n      server: http://a\n    name: a\ncurrent-context: a\ncontexts:\n  - name: a\nusers:\n  - name: a\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, text)
			must(t, Add(t.Context(), path, entry("kwok-a"), true))
			if got := current(t, path); got != "kwok-a" {
				t.Errorf("current %q", got)
			}
			if ok, err := Has(path, "kwok-a"); !ok || err != nil {
				t.Error("not there", err)
			}
			must(t, Remove(t.Context(), path, "kwok-a"))
			if got := content(t, path); got != text {
				t.Errorf("the file changed:\n%s", got)
			}
			if info, _ := os.Stat(path); info.Mode().Perm() != 0o640 {
				t.Errorf("mode %v", info.Mode())
			}
		})
	}
}

func TestNewFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "x", ".kube")
	path := filepath.Join(dir, "config")
	must(t, Remove(t.Context(), path, "kwok-a"))
	if _, err := os.Stat(dir); err == nil {
		t.Error("remove made the directory")
	}
	must(t, Add(t.Context(), path, entry("kwok-a"), false))
	cfg, err := clientcmd.LoadFromFile(path)
	must(t, err)
	if cfg.CurrentContext != "" || string(cfg.AuthInfos["kwok-a"].ClientKeyData) != "key" ||
		cfg.Contexts["kwok-a"].AuthInfo != "kwok-a" || cfg.Clusters["kwok-a"].Server != entry("").Server {
		t.Errorf("%+v", cfg)
	}
	for p, want := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		if info, _ := os.Stat(p); info.Mode().Perm() != want {
			t.Errorf("%s: mode %v", p, info.Mode())
		}
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestAddTwiceKeepsWhatTheUserAdded(t *testing.T) {
	t.Parallel()
	path := write(t, foreign)
	must(t, Add(t.Context(), path, entry("kwok-a"), true))
	once := content(t, path)
	must(t, Add(t.Context(), path, entry("kwok-a"), true))
	if content(t, path) != once {
		t.Error("adding the same again changed the file")
	}
	edited := strings.Replace(once, "    cluster: kwok-a\n", "    cluster: kwok-a\n    namespace: mine\n", 1)
	must(t, os.WriteFile(path, []byte(edited), 0o600))
	e := entry("kwok-a")
	e.Server, e.Cert, e.Key, e.CA = "http://127.0.0.1:8080", nil, nil, nil
	must(t, Add(t.Context(), path, e, true))
	cfg, err := clientcmd.LoadFromFile(path)
	must(t, err)
	if cfg.Contexts["kwok-a"].Namespace != "mine" || cfg.Contexts["kwok-a"].AuthInfo != "" || cfg.AuthInfos["kwok-a"] != nil ||
		cfg.Clusters["kwok-a"].Server != e.Server || len(cfg.Clusters["kwok-a"].CertificateAuthorityData) > 0 {
		t.Errorf("%s", content(t, path))
	}
	must(t, Remove(t.Context(), path, "kwok-a"))
	if content(t, path) != foreign {
		t.Errorf("the file changed:\n%s", content(t, path))
	}
}

func TestPreviousContext(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, steps, want string }{
		{"last in first out", "+a +b -b -a", "prod"},
		{"first in first out", "+a +b -a -b", "prod"},
		{"three in odd order", "+a +b +c -b -a -c", "prod"},
		{"not current", "+a =prod -a", "prod"},
		{"not asked", "~a -a", "prod"},
		{"previous is gone", "+a -prod -a", ""},
		{"none before", "-prod +a -a", ""},
		{"absent", "-zzz", "prod"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, foreign)
			for _, s := range strings.Fields(tt.steps) {
				name := s[1:]
				if name != "prod" {
					name = "kwok-" + name
				}
				switch s[0] {
				case '+', '~':
					must(t, Add(t.Context(), path, entry(name), s[0] == '+'))
				case '-':
					must(t, Remove(t.Context(), path, name))
				case '=':
					text := strings.Replace(content(t, path), "current-context: "+current(t, path), "current-context: "+name, 1)
					must(t, os.WriteFile(path, []byte(text), 0o600))
				}
			}
			if got := current(t, path); got != tt.want {
				t.Errorf("current %q, want %q\n%s", got, tt.want, content(t, path))
			}
		})
	}
}

func TestDamagedFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no yaml":     "clusters: [",
		"tabs":        "clusters:\n\t- x",
		"scalar":      "hello",
		"list":        "- a",
		"no list":     "clusters: 5\n",
		"no items":    "contexts: [5]\n",
		"no name":     "contexts: [{}]\n",
		"repeated":    "contexts: []\ncontexts: [{name: a}]\n",
		"merged":      "x: &x {clusters: [{name: a}]}\n<<: *x\n",
		"two":         "kind: Config\n---\nkind: Config\n",
		"binary":      "\x00\x01\x02",
		"other kind":  "apiVersion: v1\nkind: Secret\n",
		"other group": "apiVersion: apps/v1\nkind: Config\n",
		"alias":       "clusters: &a [{name: a, cluster: {}}]\nusers: *a\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, text)
			err := Add(t.Context(), path, entry("kwok-a"), true)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line", err)
			}
			if content(t, path) != text {
				t.Errorf("the file changed: %q", content(t, path))
			}
			if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

func TestSymlinkStays(t *testing.T) {
	t.Parallel()
	target := write(t, foreign)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(target, link))
	must(t, Add(t.Context(), link, entry("kwok-a"), true))
	if to, err := os.Readlink(link); err != nil || to != target {
		t.Errorf("link: %q, %v", to, err)
	}
	if current(t, target) != "kwok-a" {
		t.Error("the target was not written")
	}
}

func TestLockOfKubectl(t *testing.T) {
	t.Parallel()
	path := write(t, foreign)
	must(t, os.WriteFile(path+".lock", nil, 0))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := Add(ctx, path, entry("kwok-a"), true)
	if err == nil || !strings.Contains(err.Error(), path+".lock") || content(t, path) != foreign {
		t.Errorf("a held lock was ignored: %v", err)
	}
	old := time.Now().Add(-2 * time.Minute)
	must(t, os.Chtimes(path+".lock", old, old))
	must(t, Add(t.Context(), path, entry("kwok-a"), true))
	if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

// TestKilledHolder finds the .lock of a kwokctl that was killed, and does not wait.
func TestKilledHolder(t *testing.T) {
	t.Parallel()
	path := write(t, foreign)
	must(t, exclude(t.Context(), path+".lock"))
	ctx, cancel := context.WithTimeout(t.Context(), stale/2)
	defer cancel()
	must(t, Add(ctx, path, entry("kwok-a"), true))
	if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

// TestManyWriters runs ours against programs that know only the .lock, as kubectl does.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	path := write(t, foreign)
	var wg sync.WaitGroup
	const ours, theirs = 20, 10
	for i := range ours {
		wg.Go(func() {
			if err := Add(t.Context(), path, entry(fmt.Sprintf("kwok-%d", i)), true); err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				if err := Remove(t.Context(), path, fmt.Sprintf("kwok-%d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range theirs {
			// client-go gives up at once when the lock is held; its users try again.
			for {
				f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_EXCL, 0)
				if err == nil {
					f.Close()
					break
				}
				if !errors.Is(err, fs.ErrExist) {
					t.Error(err)
					return
				}
				runtime.Gosched()
			}
			cfg, err := clientcmd.LoadFromFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			cfg.Clusters[fmt.Sprintf("theirs-%d", i)] = cfg.Clusters["prod"].DeepCopy()
			text, _ := clientcmd.Write(*cfg)
			// In place and not atomic, as client-go writes. Readers without the lock would see half of it.
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Error(err)
			}
			_ = os.Remove(path + ".lock")
		}
	})
	wg.Wait()
	cfg, err := clientcmd.LoadFromFile(path)
	must(t, err)
	if len(cfg.Clusters) != 1+ours/2+theirs || len(cfg.Contexts) != 1+ours/2 || len(cfg.AuthInfos) != 1+ours/2 {
		t.Errorf("%d clusters, %d contexts, %d users", len(cfg.Clusters), len(cfg.Contexts), len(cfg.AuthInfos))
	}
	if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	text, err := Encode(entry("kwok-a"))
	must(t, err)
	cfg, err := clientcmd.RESTConfigFromKubeConfig(text)
	must(t, err)
	if cfg.Host != entry("").Server || string(cfg.CertData) != "cert" || string(cfg.CAData) != "ca" {
		t.Errorf("%s", text)
	}
	if strings.Contains(string(text), extension) {
		t.Error("a note in a file of its own")
	}
}

// FuzzAdd puts any bytes into the file: it is refused as it is, or nothing of others is lost.
func FuzzAdd(f *testing.F) {
	for _, seed := range []string{"", foreign, "{}", "clusters: []\nusers: null\n", "contexts: [{name: yes, context: {a: !!binary eA==}}]",
		"# only\n", "current-context: 'on'\nclusters:\n- {name: kwok-a}\n- name: kwok-b\n  cluster: &x {server: 0x10}\nextensions: *x\n",
		`{"contexts":[{"name":"a","context":null}],"kind":"Config"}`, "a: >-\n  x\n\n  y\nusers:\n# c\n- name: z # d\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "config")
		must(t, os.WriteFile(path, text, 0o600))
		before, bad := tree(text)
		for _, step := range []func() error{
			func() error { return Add(t.Context(), path, entry("kwok-a"), true) },
			func() error { return Remove(t.Context(), path, "kwok-a") },
		} {
			was := content(t, path)
			if err := step(); err != nil {
				if content(t, path) != was || strings.Contains(err.Error(), "\n") {
					t.Fatalf("%v, yet the file changed", err)
				}
				continue
			}
			after, err := tree([]byte(content(t, path)))
			if bad != nil || err != nil {
				t.Fatalf("edited a damaged file (%v) or damaged one (%v)", bad, err)
			}
			if len(before) > 0 && !reflect.DeepEqual(without(before, "kwok-a"), without(after, "kwok-a")) {
				t.Fatalf("lost something:\n%q\n%q", text, content(t, path))
			}
		}
	})
}
