package cli

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"kwokctl/internal/cluster"
	"kwokctl/internal/snapshot"
)

// TestSnapshotFlags holds that flags which say nothing, or mean nothing here, are refused before anything is read.
func TestSnapshotFlags(t *testing.T) {
	yaml, db := filepath.Join(t.TempDir(), "s.yaml"), filepath.Join(t.TempDir(), "s.db")
	writeTest(t, yaml, "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n")
	writeTest(t, db, strings.Repeat("\x00", 16)+"\xed\xda\x0c\xed")
	for args, want := range map[string]string{
		"snapshot save|--path=x|--format=k8s|--namespace=": "--namespace: it is empty",
		"snapshot save|--path=x|--format=k8s|--filter=":    "--filter: it is empty",
		"snapshot record|--path=x|--selector=":             "--selector: it is empty",
		"snapshot export|--path=x|-n|UPPER":                `--namespace "UPPER": `,
		"snapshot save|--path=x|--format=k8s|-l|a=b=c":     `--selector "a=b=c": `,
		"snapshot save|--path=x|-n|a":                      "--format k8s",
	} {
		words := strings.Split(args, "|")
		status, _, errs := execute(t, append(strings.Fields(words[0]), words[1:]...)...)
		if status != 1 || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d: %s", args, status, errs)
		}
	}
	for _, tt := range []struct {
		path string
		o    snapshotOptions
		r    cluster.Restore
		want string
	}{
		{db, snapshotOptions{filter: snapshot.Filter{Shift: true}}, cluster.Restore{}, "--shift-times"},
		{db, snapshotOptions{format: formatK8s}, cluster.Restore{}, "not of the k8s format"},
		{yaml, snapshotOptions{}, cluster.Restore{SkipHash: true}, "--skip-hash-check"},
		{yaml, snapshotOptions{format: formatK8s}, cluster.Restore{}, ""},
	} {
		env := &Env{Err: io.Discard}
		tt.o.path = tt.path
		closeFile, err := env.prepareRestore(&tt.r, tt.o, newBar(env, "restore"))
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.path, err, tt.want)
		}
		if err == nil {
			closeFile()
		}
	}
}

// TestCompleteList completes the last of several.
func TestCompleteList(t *testing.T) {
	list := func() []string { return []string{"pods", "podtemplates", "nodes"} }
	for _, tt := range []struct {
		place       int
		begun, want string
	}{
		{-1, "", "pods podtemplates nodes"},
		{-1, "pod", "pods podtemplates"},
		{-1, "nodes,podt", "nodes,podtemplates"},
		{-1, "nodes,x", ""},
		{0, "no", "nodes"},
		{0, "pods,no", ""},
		{1, "no", ""},
	} {
		got, _ := complete(tt.place, list)(nil, nil, tt.begun)
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%d %q: got %q, want %q", tt.place, tt.begun, s, tt.want)
		}
	}
}
