// Package floors holds the rules of imports and of effects, as tests over the source: nothing is built.
package floors

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "kwokctl"

// floors is the table of docs/architecture.md: a package imports only floors below its own.
func floors() map[string]int {
	return map[string]int{
		"cmd/kwokctl": 5, "cmd/kwok": 5, "internal/e2e": 5, "internal/e2e/provider": 5,
		"internal/applet": 4, "internal/cli": 4,
		"internal/cluster": 3, "internal/controller": 3,
		"internal/components": 2, "internal/stage": 2, "internal/kubelet": 2, "internal/snapshot": 2, "internal/scale": 2,
		"internal/kectl":    2,
		"internal/download": 1,
		"internal/expr":     1, "internal/kube": 1, "internal/kubeconfig": 1, "internal/pki": 1, "internal/audit": 1,
		"runtimes/process": 1, "runtimes/docker": 1,
		"internal/api": 0, "internal/files": 0, "internal/yaml": 0, "runtimes": 0, "kustomize": 0, "internal/floors": 0, "internal/floors/platforms": 0,
		"internal/applet/early": 0,
	}
}

// home says which packages alone may import what begins with a path: heavy things have one home.
func home() map[string][]string {
	return map[string][]string{
		"k8s.io/kubernetes":      {"internal/applet"},
		"go.etcd.io/etcd/server": {"internal/applet"},
		"github.com/docker":      {"runtimes/docker"},
		"github.com/moby":        {"runtimes/docker"},
		"github.com/spf13/cobra": {"internal/cli", "internal/applet"},
	}
}

// effects says which packages alone may call functions that write, remove or execute.
func effects() map[string][]string {
	writers := []string{"internal/files", "runtimes/process"}
	runners := append(slices.Clone(writers), "internal/kubelet", "runtimes/docker") // for kubectl exec; for the user's ssh and keepers of logins
	return map[string][]string{
		"os.WriteFile": writers, "os.Create": writers, "os.RemoveAll": writers,
		"os/exec.Command": runners, "os/exec.CommandContext": runners, "os/exec.Cmd": runners,
	}
}

// source is one parsed file.
type source struct {
	name string // from the root of the module
	pkg  string // its directory
	test bool
	set  *token.FileSet
	file *ast.File
}

// sources parses every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		all = append(all, source{rel, path.Dir(rel), strings.HasSuffix(rel, "_test.go"), set, file})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func imports(f *ast.File) []string {
	var all []string
	for _, i := range f.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil {
			all = append(all, p)
		}
	}
	return all
}

func TestFloors(t *testing.T) {
	t.Parallel()
	table := floors()
	for _, s := range sources(t) {
		own, ok := table[s.pkg]
		if !ok {
			t.Errorf("%s: package %s has no floor; give it one in docs/architecture.md and here", s.name, s.pkg)
			continue
		}
		for _, p := range imports(s.file) {
			below, ours := strings.CutPrefix(p, module+"/")
			if !ours || s.test && below == s.pkg {
				continue
			}
			if floor, ok := table[below]; !ok || floor >= own {
				t.Errorf("%s: %s (floor %d) imports %s (floor %d)", s.name, s.pkg, own, below, floor)
			}
		}
	}
}

func TestHeavyImports(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, p := range imports(s.file) {
			for heavy, homes := range home() {
				if (p == heavy || strings.HasPrefix(p, heavy+"/")) && !slices.Contains(homes, s.pkg) {
					t.Errorf("%s: imports %s; only %s may", s.name, p, strings.Join(homes, " and "))
				}
			}
		}
	}
}

func TestEffects(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test || s.pkg == "internal/e2e" {
			continue
		}
		names := map[string]string{} // local name of a package: its path
		for _, i := range s.file.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			names[path.Base(p)] = p
			if i.Name != nil {
				names[i.Name.Name] = p
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && names[id.Name] != "" {
				f := names[id.Name] + "." + sel.Sel.Name
				if homes, found := effects()[f]; found && !slices.Contains(homes, s.pkg) {
					t.Errorf("%s: uses %s; only %s may", s.set.Position(sel.Pos()), f, strings.Join(homes, " and "))
				}
			}
			return true
		})
	}
}

// TestNothingAtStart forbids init functions: what a package does begins when it is called. One package is there to be
// first.
func TestNothingAtStart(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && s.pkg != "internal/applet/early" {
				t.Errorf("%s: init function", s.set.Position(f.Pos()))
			}
		}
	}
}

// TestBudgets keeps files and functions short enough to read.
func TestBudgets(t *testing.T) {
	t.Parallel()
	const fileLines, functionLines = 400, 60
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if n := s.set.Position(s.file.End()).Line; n > fileLines {
			t.Errorf("%s: %d lines; at most %d", s.name, n, fileLines)
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				if n := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1; n > functionLines {
					t.Errorf("%s: %s has %d lines; at most %d", s.set.Position(f.Pos()), f.Name.Name, n, functionLines)
				}
			}
		}
	}
}
