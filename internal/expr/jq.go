package expr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/itchyny/gojq"
)

// JQ is a compiled jq program.
type JQ struct {
	code *gojq.Code
}

// NewJQ compiles a jq program. It sees no environment, no files and no input but its object.
func NewJQ(text string) (*JQ, error) {
	q, err := gojq.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("jq %q: %w", text, err)
	}
	code, err := gojq.Compile(q)
	if err != nil {
		return nil, fmt.Errorf("jq %q: %w", text, err)
	}
	return &JQ{code}, nil
}

// Run returns the outputs of the program that are not null.
func (j *JQ) Run(tree map[string]any) ([]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	iter := j.code.RunWithContext(ctx, floats(tree))
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
		return number(v)
	}
	return v
}
