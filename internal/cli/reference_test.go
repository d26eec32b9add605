package cli

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kwokctl/internal/api"
)

var update = flag.Bool("update", false, "rewrite docs/reference, the outputs in docs/stages.md and the golden files")

// golden compares text with a file, or rewrites the file.
func golden(t *testing.T, path, text string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s is stale; if that is meant: go test ./internal/cli -update\n%s", path, firstDifference(string(want), text))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return "- " + w[i] + "\n+ " + g[i]
		}
	}
	return "one has more lines than the other"
}

// TestReference holds docs/reference against the table of options and the tree of commands.
func TestReference(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "reference")
	golden(t, filepath.Join(dir, "options.md"), optionReference())
	golden(t, filepath.Join(dir, "commands.md"), commandReference(newRoot(&Env{})))
}

// TestOptionTable holds the table against the struct: each field has one row, and no flag or variable is used twice.
func TestOptionTable(t *testing.T) {
	fields := map[string]bool{}
	for f := range reflect.TypeFor[api.KwokctlOptions]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[name] = true
	}
	seen := map[string]bool{}
	for _, o := range api.Options() {
		if !fields[o.Field] {
			t.Errorf("option %s: no such field, or it has two rows", o.Field)
		}
		delete(fields, o.Field)
		for _, name := range []string{"--" + o.Flag, o.Variable()} {
			if name != "--" && name != "" && seen[name] {
				t.Errorf("option %s: %s is taken", o.Field, name)
			}
			seen[name] = true
		}
		if o.Help == "" || strings.HasSuffix(o.Help, ".") {
			t.Errorf("option %s: help %q", o.Field, o.Help)
		}
		zero := o.Default == nil
		if text := reflect.TypeFor[api.KwokctlOptions](); !zero && o.Form != api.Repeated {
			i := slices.IndexFunc(reflect.VisibleFields(text), func(f reflect.StructField) bool { return strings.HasPrefix(f.Tag.Get("json"), o.Field) })
			if tag := text.Field(i).Tag.Get("json"); strings.Contains(tag, "omitempty") && o.Field != "components" {
				t.Errorf("option %s has a default and is left out of files when it is zero", o.Field)
			}
		}
	}
	for f := range fields {
		t.Errorf("field %s has no row", f)
	}
}
