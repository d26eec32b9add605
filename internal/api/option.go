package api

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Form is what the values of an option may look like, besides their type.
type Form int

// The forms.
const (
	Plain      Form = iota
	PortNumber      // 0 to 65535
	Natural         // 0 or more
	Repeated        // a list that is not split at commas
	Path            // a file of the user's, made absolute
	Program         // a program: a file made absolute, or a URL
)

// Option is a row of Options. Its type is that of the field of KwokctlOptions.
type Option struct {
	Field   string // its name in configuration files, below options
	Flag    string // of create cluster; empty for none
	Env     string // without the KWOK_ in front; empty for none
	Form    Form
	Default any    // nil: the zero value
	Unset   string // what not setting it means, where that is no fixed value
	Help    string
	Instead string // deprecated: what to use in its place
	Hidden  bool   // not in the help of create cluster
}

// Variable returns the name of its environment variable, or nothing.
func (o *Option) Variable() string {
	if o.Env == "" {
		return ""
	}
	return "KWOK_" + o.Env
}

// Type returns the type of the field.
func (o *Option) Type() reflect.Type { return fieldOf(&KwokctlOptions{}, o.Field).Type() }

// Value returns what the option is set to.
func (o *Option) Value(in *KwokctlOptions) any { return fieldOf(in, o.Field).Interface() }

// fieldOf finds a field by its JSON name.
func fieldOf(in *KwokctlOptions, name string) reflect.Value {
	v := reflect.ValueOf(in).Elem()
	for i := range v.NumField() {
		if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag == name {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

func setDefaults(o *KwokctlOptions) {
	for _, row := range Options() {
		if row.Default != nil {
			f := fieldOf(o, row.Field)
			f.Set(reflect.ValueOf(row.Default).Convert(f.Type()))
		}
	}
}

// Parse reads a value as it is written on a command line or in a variable.
func (o *Option) Parse(text string) (any, error) {
	switch t := o.Type(); t.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("allowed are true and false")
		}
		return b, nil
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("want %s", o.allowed())
		}
		return n, o.check(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("want %s", o.allowed())
		}
		return f, o.check(f)
	case reflect.Slice:
		if o.Form == Repeated {
			return []string{text}, nil
		}
		if text == "" {
			return []string{}, nil
		}
		list := strings.Split(text, ",")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		return list, nil
	}
	return text, nil
}

// check tells what is wrong with a number by itself.
func (o *Option) check(value any) error {
	var n float64
	switch v := value.(type) {
	case int64:
		n = float64(v)
	case int:
		n = float64(v)
	case float64:
		n = v
	default:
		return nil
	}
	if n < 0 || (o.Form == PortNumber && n > 65535) || n > math.MaxInt32 || math.IsNaN(n) {
		return fmt.Errorf("want %s", o.allowed())
	}
	return nil
}

// allowed says what the values of a number may be.
func (o *Option) allowed() string {
	switch {
	case o.Form == PortNumber:
		return "a port from 1 to 65535, or 0 (" + o.Unset + ")"
	case o.Type().Kind() == reflect.Float64:
		return fmt.Sprintf("a number from 0 to %d", math.MaxInt32)
	}
	return fmt.Sprintf("a whole number from 0 to %d", math.MaxInt32)
}

// TypeName names the type of the option for users.
func (o *Option) TypeName() string {
	switch {
	case o.Form == PortNumber:
		return "port"
	case o.Form == Path:
		return "file"
	case o.Form == Program:
		return "program"
	}
	switch o.Type().Kind() {
	case reflect.Bool:
		return "bool"
	case reflect.Float64:
		return "float"
	case reflect.Slice:
		return "list"
	case reflect.String:
		return "string"
	}
	return "int"
}

// Text returns a value as it would be written on a command line.
func (o *Option) Text(value any) string {
	if list, ok := value.([]string); ok {
		return strings.Join(list, ",")
	}
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// Difference is an option that was asked for and has another value.
type Difference struct {
	Option Option
	Source string // who asked
	Has    string
}

// Differences compares what s was told to set with what a cluster has.
func (s *Settings) Differences(asked, has *KwokctlOptions) []Difference {
	var all []Difference
	for _, o := range Options() {
		if s.from[o.Field] == nil {
			continue
		}
		if o.Field == "heartbeatFactor" { // what is left of it are the times that it has multiplied
			if asked.NodeStatusUpdateFrequencyMilliseconds != has.NodeStatusUpdateFrequencyMilliseconds {
				every := time.Duration(has.NodeStatusUpdateFrequencyMilliseconds) * time.Millisecond
				all = append(all, Difference{Option: o, Source: s.Source(o.Field), Has: fmt.Sprintf("a heartbeat every %s", every)})
			}
			continue
		}
		want, got := fieldOf(asked, o.Field), fieldOf(has, o.Field)
		a, _ := json.Marshal(want.Interface()) // plain values
		b, _ := json.Marshal(got.Interface())
		if slices.Equal(a, b) || (o.Form == PortNumber && want.IsZero() && o.Unset != "off") {
			continue // 0 asks for any port
		}
		d := Difference{Option: o, Source: s.Source(o.Field), Has: o.Text(got.Interface())}
		if got.IsZero() && o.Unset != "" {
			d.Has = o.Unset
		}
		if d.Has == "" {
			d.Has = "none"
		}
		all = append(all, d)
	}
	return all
}
