// Package expr runs the small languages that stages are written in, on Kubernetes objects: Go templates, jq and
// CEL. Each evaluation is hermetic and bounded in time and in size of output.
package expr

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/Masterminds/sprig/v3"
	yaml2 "go.yaml.in/yaml/v2"
	"sigs.k8s.io/yaml"
)

// Funcs are functions for templates, by name.
type Funcs map[string]any

// Limits of one evaluation.
const (
	maxTime   = 100 * time.Millisecond
	maxOutput = 1 << 20
	maxCount  = 100_000 // elements or repetitions one function call may make
	celCost   = 1_000_000
)

// forbidden are sprig's functions that see the process or the network, or burn seconds of CPU.
var forbidden = strings.Fields(`env expandenv getHostByName genPrivateKey derivePassword bcrypt htpasswd
	buildCustomCert genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert genSignedCertWithKey`)

// Base returns the functions every template may use, those of stateful nature excepted.
func Base(version string, start time.Time) Funcs {
	funcs := Funcs(sprig.TxtFuncMap())
	for _, name := range forbidden {
		delete(funcs, name)
	}
	bound(funcs)
	started := start.Format(time.RFC3339Nano)
	funcs["StartTime"] = func() string { return started }
	funcs["Version"] = func() string { return version }
	funcs["Quote"] = quote
	funcs["YAML"] = toYAML
	funcs["NodeConditions"] = nodeConditions // a fresh list: sprig's set could change it
	return funcs
}

// With returns f with more functions; they win over those of f.
func (f Funcs) With(more Funcs) Funcs {
	all := make(Funcs, len(f)+len(more))
	for k, v := range f {
		all[k] = v
	}
	for k, v := range more {
		all[k] = v
	}
	return all
}

// bound replaces functions whose result can be made arbitrarily large by a short text.
func bound(funcs Funcs) {
	repeat := funcs["repeat"].(func(int, string) string)
	funcs["repeat"] = func(n int, s string) (string, error) {
		if n < 0 || len(s) > 0 && n > maxOutput/len(s) {
			return "", fmt.Errorf("repeat: %d times is too much", n)
		}
		return repeat(n, s), nil
	}
	until := funcs["until"].(func(int) []int)
	funcs["until"] = func(n int) ([]int, error) {
		if n > maxCount || n < -maxCount {
			return nil, fmt.Errorf("until: %d is too much", n)
		}
		return until(n), nil
	}
	step := funcs["untilStep"].(func(int, int, int) []int)
	funcs["untilStep"] = func(from, to, by int) ([]int, error) {
		if by != 0 && (to-from)/by > maxCount {
			return nil, fmt.Errorf("untilStep: %d steps are too many", (to-from)/by)
		}
		return step(from, to, by), nil
	}
	seq := funcs["seq"].(func(...int) string)
	funcs["seq"] = func(n ...int) (string, error) {
		for _, v := range n {
			if v > maxCount || v < -maxCount {
				return "", fmt.Errorf("seq: %d is too much", v)
			}
		}
		return seq(n...), nil
	}
	indent := funcs["indent"].(func(int, string) string)
	funcs["indent"] = func(n int, s string) (string, error) {
		if n < 0 || n > 1000 {
			return "", fmt.Errorf("indent: %d is out of range", n)
		}
		return indent(n, s), nil
	}
	funcs["nindent"] = func(n int, s string) (string, error) {
		if n < 0 || n > 1000 {
			return "", fmt.Errorf("nindent: %d is out of range", n)
		}
		return "\n" + indent(n, s), nil
	}
	funcs["printf"] = func(format string, args ...any) (string, error) {
		if wide(format) {
			return "", fmt.Errorf("printf: width in %.40q is too large", format)
		}
		return fmt.Sprintf(format, args...), nil
	}
}

var (
	directive  = regexp.MustCompile(`%[-+# 0-9.*\[\]]*`) // of a format, without its verb
	fiveDigits = regexp.MustCompile(`[0-9]{5}|\*`)
)

// wide reports whether a directive of a format has a number of five digits or a width taken from an argument.
func wide(format string) bool {
	return slices.ContainsFunc(directive.FindAllString(strings.ReplaceAll(format, "%%", ""), -1), fiveDigits.MatchString)
}

func quote(x any) (string, error) {
	s, ok := x.(string)
	if !ok {
		text, err := json.Marshal(x)
		if err != nil {
			return "", fmt.Errorf("quote: %w", err)
		}
		s = string(text)
	}
	text, err := json.Marshal(s)
	return string(text), err
}

func toYAML(x any, depth ...int) (string, error) {
	marshal := yaml.Marshal // by way of JSON
	if isPlain(x) {
		marshal = yaml2.Marshal
	}
	text, err := marshal(x)
	if err != nil {
		return "", fmt.Errorf("YAML: %w", err)
	}
	if len(depth) == 0 || depth[0] <= 0 {
		return string(text), nil
	}
	if depth[0] > 100 {
		return "", fmt.Errorf("YAML: depth %d is too much", depth[0])
	}
	pad := "\n" + strings.Repeat("  ", depth[0])
	return pad + strings.ReplaceAll(strings.TrimSuffix(string(text), "\n"), "\n", pad), nil
}

// isPlain tells whether the way by JSON would leave x as it is: it does not if it rounds, renames or repairs.
func isPlain(x any) bool {
	switch x := x.(type) {
	case nil, bool, int, int64:
		return true
	case string:
		return utf8.ValidString(x)
	case []any:
		return x != nil && !slices.ContainsFunc(x, func(e any) bool { return !isPlain(e) })
	case map[string]any:
		for k, e := range x {
			if !utf8.ValidString(k) || !isPlain(e) {
				return false
			}
		}
		return x != nil // JSON has one null for all
	}
	return false
}

func nodeConditions() []any {
	var list []any
	for _, c := range [][4]string{
		{"Ready", "True", "KubeletReady", "kubelet is posting ready status"},
		{"MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
		{"DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
		{"PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
		{"NetworkUnavailable", "False", "RouteCreated", "RouteController created a route"},
	} {
		list = append(list, map[string]any{"type": c[0], "status": c[1], "reason": c[2], "message": c[3],
			"lastHeartbeatTime": nil, "lastTransitionTime": nil})
	}
	return list
}

func funcMap(f Funcs) template.FuncMap { return template.FuncMap(f) }
