package scale

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"strconv"
	"time"

	"kwokctl/internal/expr"
)

// tries is how often a template may run out of time.
const tries = 10

// renderer renders one object after the other. It is not safe for concurrent use: each worker has its own.
type renderer struct {
	job    Job
	params map[string]any
	extra  *pool
	t      *expr.Template
	serial int // of the object being rendered, as its index: the template's functions look here
	index  int
}

func newRenderer(job Job, params map[string]any, extra *pool) (*renderer, error) {
	r := &renderer{job: job, params: params, extra: extra}
	funcs := expr.Base(job.Version, time.Now()).With(expr.Funcs{
		"Name":      func() string { return r.job.objectName(r.serial) },
		"Namespace": func() string { return r.job.Namespace },
		"Index":     func() int { return r.index },
		"Now":       func() string { return time.Now().Format(time.RFC3339Nano) },
		"AddCIDR":   addCIDR,
		"AddIP":     addIP,
	})
	t, err := expr.NewTemplate(job.Resource.Template, funcs)
	if err != nil {
		return nil, fmt.Errorf("read template %s: %w", job.Kind, err)
	}
	r.t = t
	return r, nil
}

// render gives the object with this serial number and index, under its name and with our label, as a tree.
func (r *renderer) render(serial, index int, namespace string) (map[string]any, error) {
	r.serial, r.index = serial, index
	v, err := r.t.Render(r.params)
	// The limit of time counts the clock, and a busy machine may have run others meanwhile: only a template that is
	// always too slow is.
	for n := 1; n < tries && errors.Is(err, expr.ErrLimit); n++ {
		v, err = r.t.Render(r.params)
	}
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", r.job.Kind, err)
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("template %s: its output is not an object", r.job.Kind)
	}
	r.extra.apply(o, serial)
	meta := within(o, "metadata")
	within(meta, "labels")[Label] = r.job.Name
	if index != serial {
		within(meta, "annotations")[indexAnnotation] = strconv.Itoa(index)
	}
	meta["name"] = r.job.objectName(serial)
	if namespace != "" {
		meta["namespace"] = namespace
	}
	return o, nil
}

// within is the mapping at key of o, which is made if it is not there.
func within(o map[string]any, key string) map[string]any {
	m, ok := o[key].(map[string]any)
	if !ok {
		m = map[string]any{}
		o[key] = m
	}
	return m
}

// parameters runs each program on the parameters; its one output takes their place.
func parameters(params map[string]any, programs []string) (map[string]any, error) {
	if params == nil {
		params = map[string]any{}
	}
	for _, text := range programs {
		jq, err := expr.NewVerbatimJQ(text)
		if err != nil {
			return nil, fmt.Errorf("read --param: %w", err)
		}
		out, err := jq.Run(params)
		if err == nil && len(out) != 1 {
			err = fmt.Errorf("has %d outputs, not 1", len(out))
		}
		if err != nil {
			return nil, fmt.Errorf("run --param %q: %w", text, err)
		}
		m, ok := out[0].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("run --param %q: its output is no object; assign, as in .nodeName=\"n1\"", text)
		}
		params = m
	}
	return verbatim(params).(map[string]any), nil
}

// verbatim makes numbers print as they were written: a float of 10000000 would print as 1e+07.
func verbatim(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = verbatim(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = verbatim(e)
		}
		return l
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return v
		}
		return json.Number(strconv.FormatFloat(v, 'f', -1, 64))
	}
	return v
}

// addCIDR is the n-th network after cidr of the same size: 10.0.0.0/24 and 2 give 10.0.2.0/24.
func addCIDR(cidr string, n int) (string, error) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return "", fmt.Errorf("AddCIDR: %w", err)
	}
	addr, err := advance(p.Masked().Addr(), n, p.Addr().BitLen()-p.Bits())
	if err != nil {
		return "", fmt.Errorf("AddCIDR %s %d: %w", cidr, n, err)
	}
	return netip.PrefixFrom(addr, p.Bits()).String(), nil
}

// addIP is the n-th address after ip.
func addIP(ip string, n int) (string, error) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return "", fmt.Errorf("AddIP: %w", err)
	}
	if addr, err = advance(addr, n, 0); err != nil {
		return "", fmt.Errorf("AddIP %s %d: %w", ip, n, err)
	}
	return addr.String(), nil
}

// advance adds n * 2^shift to an address.
func advance(addr netip.Addr, n, shift int) (netip.Addr, error) {
	step := new(big.Int).Lsh(big.NewInt(int64(n)), uint(shift))
	sum := step.Add(step, new(big.Int).SetBytes(addr.AsSlice()))
	if sum.Sign() < 0 || sum.BitLen() > addr.BitLen() {
		return addr, errors.New("there are no more addresses")
	}
	next, _ := netip.AddrFromSlice(sum.FillBytes(make([]byte, addr.BitLen()/8)))
	return next, nil
}
