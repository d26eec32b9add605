package api

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Settings gathers what is asked for of a cluster from its sources, in order: a later one wins. It knows what was set
// and what was not, which a struct cannot tell.
type Settings struct {
	doc  map[string]any
	from map[string]func() string // by field of options: who set it last
}

// Add lays a document over what is there. Maps are merged; lists are replaced, but components and componentsPatches
// are merged by name; null takes back what was set.
func (s *Settings) Add(c *KwokctlConfiguration) error {
	var doc map[string]any
	if err := json.Unmarshal(c.raw, &doc); err != nil {
		return err
	}
	s.prepare()
	overlay(s.doc, doc)
	options, _ := doc["options"].(map[string]any)
	for field := range options {
		s.from[field] = func() string { return c.at("options."+field) + " options." + field }
	}
	return nil
}

// Set sets one option; source is the flag or variable that says so.
func (s *Settings) Set(o *Option, value any, source string) {
	s.prepare()
	options, ok := s.doc["options"].(map[string]any)
	if !ok {
		options = map[string]any{}
		s.doc["options"] = options
	}
	options[o.Field] = value
	s.from[o.Field] = func() string { return source }
}

// Has tells whether an option was set.
func (s *Settings) Has(field string) bool { return s.from[field] != nil }

// Source says who set an option.
func (s *Settings) Source(field string) string {
	if f := s.from[field]; f != nil {
		return f()
	}
	return field
}

func (s *Settings) prepare() {
	if s.doc == nil {
		s.doc, s.from = map[string]any{}, map[string]func() string{}
	}
}

func overlay(into, over map[string]any) {
	for key, value := range over {
		below, isMap := into[key].(map[string]any)
		above, both := value.(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case isMap && both:
			overlay(below, above)
		case key == "components" || key == "componentsPatches":
			into[key] = mergeByName(into[key], value)
		default:
			into[key] = value
		}
	}
}

// mergeByName merges lists of objects that have names. A list of names, as options.components is, is replaced.
func mergeByName(into, over any) any {
	below, _ := into.([]any)
	above, ok := over.([]any)
	if !ok {
		return over
	}
	merged := slices.Clone(below)
	for _, item := range above {
		o, ok := item.(map[string]any)
		if !ok {
			return over
		}
		i := slices.IndexFunc(below, func(b any) bool {
			m, ok := b.(map[string]any)
			return ok && m["name"] == o["name"]
		})
		if i < 0 {
			merged = append(merged, o)
			continue
		}
		overlay(merged[i].(map[string]any), o)
	}
	return merged
}

// Document returns what was set and nothing else, for a file that is to be read again.
func (s *Settings) Document() (*Raw, error) {
	s.prepare()
	doc := map[string]any{"apiVersion": ConfigVersion, "kind": "KwokctlConfiguration"}
	overlay(doc, s.doc)
	text, err := json.Marshal(doc)
	return &Raw{TypeMeta: TypeMeta{APIVersion: ConfigVersion, Kind: "KwokctlConfiguration"}, JSON: text}, err
}

// Configuration returns the configuration that follows: all defaults in place, nothing multiplied yet. It fails on
// values that are wrong by themselves.
func (s *Settings) Configuration() (*KwokctlConfiguration, error) {
	c := NewKwokctlConfiguration()
	s.prepare()
	text, err := json.Marshal(s.doc)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("merge configurations: %w", err)
	}
	o := &c.Options
	if !s.Has("kubeAuthorization") {
		o.KubeAuthorization = o.SecurePort
	}
	if !s.Has("kubeAdmission") {
		o.KubeAdmission = o.KubeAuthorization
	}
	if o.Runtime == "" && len(o.Runtimes) == 1 {
		o.Runtime = o.Runtimes[0]
	}
	for _, row := range Options() {
		if !s.Has(row.Field) {
			continue
		}
		if err := row.check(row.Value(o)); err != nil {
			return nil, fmt.Errorf("%s %v: %w", s.Source(row.Field), row.Value(o), err)
		}
		if err := row.makeAbsolute(o); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Source(row.Field), err)
		}
	}
	return c, nil
}

// makeAbsolute makes the path of a file independent of the current directory.
func (o *Option) makeAbsolute(in *KwokctlOptions) error {
	f := fieldOf(in, o.Field)
	if (o.Form != Path && o.Form != Program) || f.String() == "" || strings.Contains(f.String(), "://") {
		return nil
	}
	home, _ := os.UserHomeDir()
	path, err := filepath.Abs(ExpandHome(f.String(), home))
	if err == nil {
		f.SetString(path)
	}
	return err
}

// ExpandHome puts the home directory, if there is one, in place of the ~ that a path begins with, as shells do, which do
// not look into files.
func ExpandHome(path, home string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok && home != "" && (rest == "" || rest[0] == '/') {
		return home + rest
	}
	return path
}

// Scale multiplies the times of nodes by the heartbeat factor, which is 1 from then on.
func (o *KwokctlOptions) Scale() error {
	factor := o.HeartbeatFactor
	o.HeartbeatFactor = 1
	if factor == 0 || factor == 1 {
		return nil
	}
	for field, value := range map[string]*int64{
		"nodeStatusUpdateFrequencyMilliseconds":                   &o.NodeStatusUpdateFrequencyMilliseconds,
		"kubeControllerManagerNodeMonitorPeriodMilliseconds":      &o.KubeControllerManagerNodeMonitorPeriodMilliseconds,
		"kubeControllerManagerNodeMonitorGracePeriodMilliseconds": &o.KubeControllerManagerNodeMonitorGracePeriodMilliseconds,
	} {
		if float64(*value)*factor > math.MaxInt32 {
			return fmt.Errorf("%s %d times heartbeatFactor %g: at most %d", field, *value, factor, math.MaxInt32)
		}
		*value = int64(float64(*value) * factor)
	}
	lease := float64(o.NodeLeaseDurationSeconds) * factor
	if lease > math.MaxInt32 {
		return fmt.Errorf("nodeLeaseDurationSeconds %d times heartbeatFactor %g: at most %d", o.NodeLeaseDurationSeconds, factor, math.MaxInt32)
	}
	o.NodeLeaseDurationSeconds = int(math.Ceil(lease))
	return nil
}

// KwokDocument returns what configurations of the controller say together, and no default.
func KwokDocument(docs []*KwokConfiguration) (*Raw, error) {
	t := TypeMeta{APIVersion: ConfigVersion, Kind: "KwokConfiguration"}
	all := map[string]any{"apiVersion": t.APIVersion, "kind": t.Kind}
	for _, d := range docs {
		var doc map[string]any
		if err := json.Unmarshal(d.raw, &doc); err != nil {
			return nil, err
		}
		overlay(all, doc)
	}
	text, err := json.Marshal(all)
	return &Raw{TypeMeta: t, JSON: text}, err
}
