package expr

import (
	"context"
	"fmt"
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

// NewCELEnv returns an environment with the variable self and Kubernetes' own libraries.
func NewCELEnv() (*CELEnv, error) {
	env, err := newBase(cel.Variable("self", cel.DynType))
	return &CELEnv{env}, err
}

// newBase has what all expressions may use.
func newBase(more ...cel.EnvOption) (*cel.Env, error) {
	env, err := cel.NewEnv(append(more,
		cel.DefaultUTCTimeZone(true), cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true),
		ext.Strings(ext.StringsVersion(2)), ext.Sets(),
		library.URLs(), library.Regex(), library.Lists(), library.Quantity(), library.IP(), library.CIDR(), library.Format(),
	)...)
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

// Eval runs the expression on an object and returns a Go value.
func (c *CEL) Eval(self map[string]any) (any, error) {
	v, err := c.run(map[string]any{"self": Numbers(self)})
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
