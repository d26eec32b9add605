package stage

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"strconv"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
)

// source is a compiled api.Source: a value taken from the object.
type source struct {
	jq  *requirement
	cel *expr.CEL
}

func newSource(s *api.Source, env func() (*expr.CELEnv, error)) (*source, error) {
	switch {
	case s == nil || s.JQ == nil && s.CEL == nil:
		return nil, nil
	case s.CEL != nil:
		c, err := compileCEL(s.CEL.Expression, env)
		return &source{cel: c}, err
	}
	if p, ok := newPath(s.JQ.Expression); ok {
		return &source{jq: &requirement{path: p}}, nil
	}
	jq, err := expr.NewJQ(s.JQ.Expression)
	if err != nil {
		return nil, err
	}
	return &source{jq: &requirement{jq: jq}}, nil
}

// first returns the program's first output: a string, float64, int64, bool and so on; nil for none.
func (s *source) first(o Object) (any, error) {
	if s.cel != nil {
		return s.cel.Eval(selfOf(o))
	}
	if s.jq.jq != nil {
		out, err := s.jq.jq.Run(o.Tree())
		if err != nil || len(out) == 0 {
			return nil, limitOnly(err)
		}
		return out[0], nil
	}
	var got any
	err := walk(s.jq.path, o, func(v value) bool {
		switch v.kind {
		case text:
			got = v.text
		case num:
			got, _ = strconv.ParseFloat(v.text, 64)
		default:
			got = true // of no use to anybody
		}
		return false
	})
	return got, err
}

// limitOnly drops errors of jq other than a broken limit: such a program yields nothing.
func limitOnly(err error) error {
	if errors.Is(err, expr.ErrLimit) {
		return err
	}
	return nil
}

// weigh returns the weight of the stage for o; false means unset.
func (s *compiled) weigh(o Object) (int64, bool, error) {
	if s.weight == nil {
		return int64(s.spec.Weight), true, nil
	}
	v, err := s.weight.first(o)
	if err != nil {
		return 0, false, fmt.Errorf("spec.weightFrom: %w", err)
	}
	fallback := int64(s.spec.Weight)
	switch v := v.(type) {
	case string:
		if s.weight.cel != nil {
			return fallback, true, nil
		}
		n, err := strconv.ParseInt(v, 0, 64)
		return n, err == nil, nil
	case float64:
		return int64(clamp(v)), true, nil
	case int64:
		return v, true, nil
	case uint64:
		return int64(min(v, math.MaxInt64)), true, nil
	case bool:
		if s.weight.cel == nil {
			return fallback, true, nil
		}
		if v {
			return 1, true, nil
		}
		return 0, true, nil
	case time.Duration:
		return int64(v), true, nil
	}
	return fallback, true, nil
}

func clamp(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return max(math.MinInt64/2, min(math.MaxInt64/2, f))
}

// delay returns the earliest and the latest time from now at which the stage plays; they are equal without jitter.
// What the result depends on, other than now, goes into h.
func (s *compiled) delay(o Object, now time.Time, h *maphash.Hash) (d, latest time.Duration, err error) {
	defer caught(&err)
	spec := s.spec.Delay
	if spec == nil {
		return 0, 0, nil
	}
	d, ok, err := s.duration.resolve(o, now, spec.DurationMilliseconds, h)
	if err != nil {
		return 0, 0, fmt.Errorf("spec.delay.durationFrom: %w", err)
	}
	if !ok {
		return 0, 0, nil
	}
	j, ok, err := s.jitter.resolve(o, now, spec.JitterDurationMilliseconds, h)
	if err != nil {
		return 0, 0, fmt.Errorf("spec.delay.jitterDurationFrom: %w", err)
	}
	if !ok {
		return d, d, nil
	}
	if j <= d {
		return j, j, nil // the jitter is the latest point, not an addition
	}
	return d, j, nil
}

// resolve returns a duration; false means unset.
func (s *source) resolve(o Object, now time.Time, ms *int64, h *maphash.Hash) (time.Duration, bool, error) {
	fallback := time.Duration(0)
	if ms != nil {
		fallback = time.Duration(min(*ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	}
	if s == nil {
		return fallback, ms != nil, nil
	}
	v, err := s.first(o)
	if err != nil {
		return 0, false, err
	}
	_, _ = fmt.Fprint(h, v, ";") // a Hash never fails
	switch v := v.(type) {
	case string:
		if v == "" {
			return 0, false, nil
		}
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t.Sub(now), true, nil
		}
		if d, err := time.ParseDuration(v); err == nil {
			return d, true, nil
		}
	case time.Duration:
		return v, true, nil
	case time.Time:
		return v.Sub(now), true, nil
	case int64:
		return time.Duration(v), true, nil
	case uint64:
		return time.Duration(min(v, math.MaxInt64)), true, nil
	case float64:
		if s.cel != nil {
			return time.Duration(clamp(v)), true, nil
		}
	}
	return fallback, ms != nil, nil
}
