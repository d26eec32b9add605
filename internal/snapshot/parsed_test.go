package snapshot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is read of a file a second time is what was read the first time, be it good or bad.
func TestReadAgain(t *testing.T) {
	const one = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	const list = "---\napiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: b}}, {metadata: {name: c}}]\n"
	for name, tt := range map[string]struct {
		text string
		kept bool
	}{
		"good":             {one + list, true},
		"bad in between":   {one + "---\na: b: c\n" + list, true},
		"bad at the end":   {one + list + "---\na: {\n", true},
		"nothing":          {"# nothing\n", true},
		"ours":             {markBegin + "2026-01-02T03:04:05Z\n" + one + "---\n" + markEnd + "1\n", true},
		"ours, cut":        {markBegin + "2026-01-02T03:04:05Z\n" + one, false},
		"times that move":  {one + "---\napiVersion: v1\nkind: Event\nmetadata: {name: e}\neventTime: $(time-offset-nanosecond -5)\n", false},
		"a document or 30": {strings.Repeat(one, 30), true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "in.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("TMPDIR", t.TempDir())
			in, err := Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			var first string
			for round := range 3 {
				r, err := in.reader(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if again := r.known != nil; again != (tt.kept && round > 0) {
					t.Errorf("round %d: reads what was kept: %v", round, again)
				}
				got := ""
				for {
					d, err := r.Next()
					if errors.Is(err, io.EOF) {
						break
					}
					if r.moving { // each time at another time
						d.JSON = nil
					}
					got += fmt.Sprintf("%d %s %v %v\n", d.Line, d.JSON, d.Whole, err)
					var line *LineError
					if err != nil && !errors.As(err, &line) {
						break
					}
				}
				got += r.Taken.String()
				if round == 0 {
					first = got
				} else if got != first {
					t.Errorf("round %d:\n%s\nwant\n%s", round, got, first)
				}
			}
			if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
				t.Errorf("left in the directory for temporary files: %v", left)
			}
		})
	}
}
