// Package platforms checks that both programs, with Kubernetes and all else that they link, have valid types on every
// platform that we build for. It takes seconds where compiling takes minutes.
package platforms

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

func TestPlatforms(t *testing.T) {
	list := os.Getenv("PLATFORMS") // the Makefile has it
	if list == "" {
		list = "darwin/arm64"
	}
	for platform := range strings.FieldsSeq(list) {
		t.Run(platform, func(t *testing.T) {
			system, processor, _ := strings.Cut(platform, "/")
			loaded, err := packages.Load(&packages.Config{
				Mode: packages.LoadAllSyntax,
				Dir:  "../../..",
				Env:  append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+processor),
			}, "./cmd/kwokctl", "./cmd/kwok")
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			packages.Visit(loaded, nil, func(p *packages.Package) {
				n++
				for _, err := range p.Errors {
					t.Errorf("%s: %v", p.PkgPath, err)
				}
			})
			if n < 1000 { // Kubernetes alone has more
				t.Errorf("only %d packages", n)
			}
		})
	}
}
