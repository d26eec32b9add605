package expr

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"k8s.io/apiserver/pkg/cel/library"
)

// CELEnv makes CEL programs. One serves a whole kind.
type CELEnv struct {
	env *cel.Env
}

// NewCELEnv returns an environment with the variable self and Kubernetes' own libraries. like is a nil pointer to the
// struct that self will be, such as (*corev1.Pod)(nil): its fields are known, absent ones are their zero values, and
// times are timestamps. With nil, self is JSON: an absent field is an error, and times are text.
func NewCELEnv(like any) (*CELEnv, error) {
	base, err := newBase()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{cel.Variable("self", cel.DynType)}
	if like != nil {
		t := reflect.TypeOf(like).Elem()
		p := newProvider(base.CELTypeProvider(), t)
		options = append(quantityFunctions(), cel.CustomTypeAdapter(adapter{}), cel.CustomTypeProvider(p), cel.Variable("self", p.celType(t)))
	}
	env, err := base.Extend(options...)
	if err != nil {
		return nil, fmt.Errorf("make CEL environment: %w", err)
	}
	return &CELEnv{env}, nil
}

// newBase has what all expressions may use.
func newBase() (*cel.Env, error) {
	env, err := cel.NewEnv(
		cel.DefaultUTCTimeZone(true), cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true),
		ext.Strings(ext.StringsVersion(2)), ext.Sets(),
		library.URLs(), library.Regex(), library.Lists(), library.Quantity(), library.IP(), library.CIDR(), library.Format(),
	)
	if err != nil {
		return nil, fmt.Errorf("make CEL environment: %w", err)
	}
	return env, nil
}

// CEL is a compiled CEL expression.
type CEL struct {
	prog   cel.Program
	text   string
	result *cel.Type
	uses   []string
}

// Compile compiles an expression.
func (e *CELEnv) Compile(text string) (*CEL, error) {
	ast, issues := e.env.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("cel %q: %s", text, strings.Join(strings.Fields(err.Error()), " "))
	}
	prog, err := e.env.Program(ast, cel.CostLimit(celCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, fmt.Errorf("cel %q: %w", text, err)
	}
	return &CEL{prog, text, ast.OutputType(), usesOf(ast.NativeRep().Expr(), nil)}, nil
}

// Result is the name of the type that the expression yields, such as bool; dyn when only running it tells. What may be
// null is named without that.
func (c *CEL) Result() string {
	name := c.result.String()
	if inner, ok := strings.CutPrefix(name, "wrapper("); ok {
		name = strings.TrimSuffix(inner, ")")
	}
	if known, ok := strings.CutPrefix(name, "google.protobuf."); ok {
		return strings.ToLower(known) // duration, timestamp
	}
	return name
}

// Eval runs the expression on an object, JSON or a pointer to a struct as its environment was made for, and returns a
// Go value.
func (c *CEL) Eval(self any) (any, error) {
	vars := map[string]any{}
	if tree, ok := self.(map[string]any); ok {
		vars["self"] = Numbers(tree)
	} else {
		vars["self"] = newObject(self, nil)
	}
	v, err := c.run(vars)
	if err != nil {
		return nil, err
	}
	return v.Value(), nil
}

func (c *CEL) run(vars any) (ref.Val, error) {
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	v, _, err := c.prog.ContextEval(ctx, vars)
	if err != nil {
		if ctx.Err() != nil || strings.Contains(err.Error(), "cost limit") {
			return nil, fmt.Errorf("cel %q: %v: %w", c.text, err, ErrLimit)
		}
		return nil, fmt.Errorf("cel %q: %w", c.text, err)
	}
	return v, nil
}
