package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
	"kwokctl/runtimes/process"
)

// stopped is a cluster that does not run, with files of this content.
func stopped(t *testing.T, files map[string]string) *Cluster {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := api.NewKwokctlConfiguration()
	return &Cluster{Name: "x", Dir: dir, Config: cfg, rt: process.New(process.Options{Dir: dir})}
}

// TestSettle has what restores leave that were cut at each of their steps.
func TestSettle(t *testing.T) {
	t.Parallel()
	const db, wal = "member/snap/db", "member/wal/0.wal"
	for name, tt := range map[string]struct {
		files map[string]string
		db    string // content afterwards; "" for no file
		prev  bool   // the data of before are kept
		err   string
	}{
		"nothing":             {map[string]string{"etcd/" + db: "old", "etcd/" + wal: ""}, "old", false, ""},
		"new data made":       {map[string]string{"etcd/" + db: "old", "restore/etcd/" + db: "new"}, "old", false, ""},
		"between the renames": {map[string]string{"etcd.prev/" + db: "old", "restore/etcd/" + db: "new"}, "old", false, ""},
		"in place":            {map[string]string{"etcd/" + db: "new", "etcd.prev/" + db: "old"}, "new", true, ""},
		"put back, half way":  {map[string]string{"restore/bad/" + db: "new", "etcd.prev/" + db: "old"}, "old", false, ""},
		"never ready":         {map[string]string{}, "", false, ""},
		"lost":                {map[string]string{servedFile: ""}, "", false, "has lost its data"},
		"lost log":            {map[string]string{servedFile: "", "etcd/" + db: "old"}, "old", false, "has lost its data"},
		"whole":               {map[string]string{servedFile: "", "etcd/" + db: "old", "etcd/" + wal: ""}, "old", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := stopped(t, tt.files)
			err := c.settle(t.Context())
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if got, _ := os.ReadFile(filepath.Join(c.Dir, components.DataDir, db)); string(got) != tt.db {
				t.Errorf("data %q, want %q", got, tt.db)
			}
			if _, err := os.Lstat(filepath.Join(c.Dir, prevDir)); (err == nil) != tt.prev {
				t.Errorf("data of before: %v", err)
			}
			if _, err := os.Lstat(filepath.Join(c.Dir, stageDir)); err == nil {
				t.Error("work of the restore is left")
			}
			if c.cut() {
				t.Error("there is still something to settle")
			}
		})
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{"": "/registry", "--etcd-prefix=/a/": "/a", "--etcd-prefix=b": "/b"} {
		o := api.NewKwokctlConfiguration()
		c := &Cluster{Name: "x", Config: o}
		if err := c.plan(nil); err != nil {
			t.Fatal(err)
		}
		for i := range c.specs {
			if args != "" {
				c.specs[i].Args = append(c.specs[i].Args, args)
			}
		}
		if got := c.EtcdPrefix(); got != want {
			t.Errorf("%q: prefix %q, want %q", args, got, want)
		}
		if err := c.plain(); err != nil {
			t.Error(err)
		}
		for i := range c.specs {
			c.specs[i].Args = append(c.specs[i].Args, "--encryption-provider-config=x")
		}
		if err := c.plain(); err == nil || !strings.Contains(err.Error(), "--encryption-provider-config") {
			t.Errorf("encrypted objects: %v", err)
		}
	}
}
