package expr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/itchyny/gojq"

	"kwokctl/internal/yaml"
)

// JQ is a compiled jq program.
type JQ struct {
	code     *gojq.Code
	verbatim bool
	literals []any // values of variables, see NewVerbatimJQ
}

// NewJQ compiles a jq program. It sees no environment, no files and no input but its object.
func NewJQ(text string) (*JQ, error) { return newJQ(text, false) }

// NewVerbatimJQ compiles a program in which numbers stay as they are written until something is computed of them: 1.10
// is not 1.1.
func NewVerbatimJQ(text string) (*JQ, error) { return newJQ(text, true) }

func newJQ(text string, verbatim bool) (*JQ, error) {
	q, err := gojq.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("jq %q: %w", text, err)
	}
	j := &JQ{verbatim: verbatim}
	var names []string
	if verbatim {
		l := literals{}
		l.replace(reflect.ValueOf(q))
		names, j.literals = l.names, l.values
	}
	if j.code, err = gojq.Compile(q, gojq.WithVariables(names)); err != nil {
		return nil, fmt.Errorf("jq %q: %w", text, err)
	}
	return j, nil
}

// literals are the numbers of a program that it would read as floats, as values of variables in their place.
type literals struct {
	names  []string
	values []any
}

// replace walks through a parsed program.
func (l *literals) replace(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		if t, ok := v.Interface().(*gojq.Term); ok {
			l.term(t)
		}
		l.replace(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			l.replace(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				l.replace(v.Field(i))
			}
		}
	}
}

func (l *literals) term(t *gojq.Term) {
	sign, number := "", t
	if u := t.Unary; t.Type == gojq.TermTypeUnary && u.Op == gojq.OpSub && len(u.Term.SuffixList) == 0 {
		sign, number = "-", u.Term
	}
	if number.Type != gojq.TermTypeNumber || !strings.ContainsAny(number.Number, ".eE") {
		return
	}
	name := fmt.Sprintf("$literal%d", len(l.names))
	l.names, l.values = append(l.names, name), append(l.values, json.Number(sign+number.Number))
	t.Type, t.Unary, t.Number, t.Func = gojq.TermTypeFunc, nil, "", &gojq.Func{Name: name}
}

// Run returns the outputs of the program that are not null.
func (j *JQ) Run(tree map[string]any) ([]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	var in any = floats(tree)
	if j.verbatim {
		in = ints(tree)
	}
	iter := j.code.RunWithContext(ctx, in, j.literals...)
	var out []any
	size := 0
	for {
		v, ok := iter.Next()
		if !ok {
			return out, nil
		}
		if err, failed := v.(error); failed {
			var halt *gojq.HaltError
			if errors.As(err, &halt) && halt.Value() == nil {
				return out, nil
			}
			if ctx.Err() != nil {
				return nil, fmt.Errorf("jq: running for %v: %w", maxTime, ErrLimit)
			}
			return nil, fmt.Errorf("jq: %w", err)
		}
		if size += weigh(v); size > maxOutput {
			return nil, fmt.Errorf("jq: output over %d bytes: %w", maxOutput, ErrLimit)
		}
		if v != nil {
			out = append(out, v)
		}
	}
}

func weigh(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		n := 16
		for _, e := range v {
			n += weigh(e)
		}
		return n
	case map[string]any:
		n := 16
		for k, e := range v {
			n += len(k) + weigh(e)
		}
		return n
	}
	return 16
}

// floats copies a tree with its numbers as the floats that jq computes with.
func floats(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = floats(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = floats(e)
		}
		return l
	case json.Number:
		f, _ := v.Float64()
		return f
	case int64:
		return float64(v)
	}
	return v
}

// ints copies a tree with its whole numbers as those that jq knows.
func ints(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = ints(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = ints(e)
		}
		return l
	case int64:
		return int(v)
	}
	return v
}

// Numbers copies a tree with json.Number replaced by int64 or float64.
func Numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = Numbers(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = Numbers(e)
		}
		return l
	case json.Number:
		return yaml.Number(v)
	}
	return v
}
