package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestStagesPage runs the examples of docs/stages.md: files are written, commands are run, outputs compared.
func TestStagesPage(t *testing.T) {
	page, err := filepath.Abs("../../docs/stages.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	blocks := regexp.MustCompile("(?s)<!-- (file: (\\S+)|run) -->\n```\\w+\n(.*?)```\n")
	ran := 0
	fresh := blocks.ReplaceAllStringFunc(string(text), func(block string) string {
		m := blocks.FindStringSubmatch(block)
		if name := m[2]; name != "" {
			if err := os.WriteFile(name, []byte(m[3]), 0o600); err != nil {
				t.Fatal(err)
			}
			return block
		}
		line, _, _ := strings.Cut(m[3], "\n")
		args, ok := strings.CutPrefix(line, "$ kwokctl ")
		if !ok {
			t.Fatalf("not a command: %s", line)
		}
		status, out, errs := execute(t, strings.Fields(args)...)
		if status != 0 {
			t.Errorf("%s: exit status %d: %s", line, status, errs)
		}
		ran++
		return "<!-- run -->\n```console\n" + line + "\n" + out + errs + "```\n"
	})
	if ran == 0 {
		t.Error("no example was run")
	}
	if fresh == string(text) {
		return
	}
	if !*update {
		t.Errorf("outputs in docs/stages.md are stale; if that is meant: go test ./internal/cli -update\n%s", firstDifference(string(text), fresh))
		return
	}
	if err := os.WriteFile(page, []byte(fresh), 0o644); err != nil {
		t.Fatal(err)
	}
}
