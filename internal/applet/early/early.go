// Package early makes the start of a process cheap. A start of this binary initialises a thousand packages of others,
// most of which the program that was called does not need; this one is initialised before the dear ones: packages are
// in the order of their import paths (Go specification, Package initialization) once theirs are, and what the others
// need comes later than this. It is for the side effect.
package early

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"k8s.io/kubectl/pkg/util/i18n"
)

// The collector ran four times in a start, for a heap of which nearly all stays.
const (
	startTime   = 250 * time.Millisecond
	startMemory = 256 << 20 // bytes
)

// inTime tells whether the first text was translated after this package was initialised.
var inTime bool

func init() {
	skipTranslations()
	deferCollector()
}

// skipTranslations spares every program but kubectl the loading of kubectl's translations, which packages of it ask
// for while they are initialised: 20 ms.
func skipTranslations() {
	isKubectl := slices.ContainsFunc(os.Args, func(arg string) bool {
		return strings.TrimSuffix(filepath.Base(arg), ".exe") == "kubectl"
	})
	load := i18n.LoadTranslationsFunc
	_ = i18n.SetLoadTranslationsFunc(func() error { // an error: loaded already, see inTime
		inTime = true
		if isKubectl {
			return load()
		}
		return nil
	})
}

// deferCollector keeps the collector off until the start is over: 15 ms. What the user or the supervisor has set stays.
func deferCollector() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(startMemory)
	time.AfterFunc(startTime, func() {
		if debug.SetMemoryLimit(-1) == startMemory { // else the program has bounded itself meanwhile
			debug.SetMemoryLimit(limit)
		}
		debug.SetGCPercent(percent)
	})
}

// InTime tells whether this package came before the first translation.
func InTime() bool { return inTime }
