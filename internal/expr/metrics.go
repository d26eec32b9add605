package expr

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Asked answers what expressions ask about a node and its pods. A nil pod means the node, no container all of them.
type Asked interface {
	Usage(pod *corev1.Pod, resource, container string) (float64, error)
	CumulativeUsage(pod *corev1.Pod, resource, container string) (float64, error)
}

// World answers what expressions ask about anything else.
type World struct {
	Now     func() time.Time
	Started func(node string) float64 // containers that were started on it
}

// Vars are the variables of an expression of metrics. Those it may not use are nil.
type Vars struct {
	Node      *corev1.Node
	Pod       *corev1.Pod
	Container *corev1.Container
	Asked     Asked
}

// ResolveName returns a variable.
func (v *Vars) ResolveName(name string) (any, bool) {
	switch name {
	case "node":
		return newObject(v.Node, v.Asked), true
	case "pod":
		return newObject(v.Pod, v.Asked), true
	case "container":
		return newObject(v.Container, nil), true
	}
	return nil, false
}

// Parent returns nil: there are no more variables.
func (v *Vars) Parent() cel.Activation { return nil }

// Dimensions are the variables of expressions of metrics: each has those before it too.
func Dimensions() []string { return []string{"node", "pod", "container"} }

// NewMetricEnvs returns the environment of each dimension of metrics. An expression that names a variable its
// dimension does not have does not compile.
func NewMetricEnvs(w World) (map[string]*CELEnv, error) {
	base, err := newBase()
	if err != nil {
		return nil, err
	}
	p := newProvider(base.CELTypeProvider(), reflect.TypeFor[corev1.Node](), reflect.TypeFor[corev1.Pod]())
	env, err := base.Extend(append(metricFunctions(w), cel.CustomTypeAdapter(adapter{}), cel.CustomTypeProvider(p))...)
	if err != nil {
		return nil, fmt.Errorf("make CEL environment of metrics: %w", err)
	}
	all := map[string]*CELEnv{}
	for i, t := range []reflect.Type{reflect.TypeFor[corev1.Node](), reflect.TypeFor[corev1.Pod](), reflect.TypeFor[corev1.Container]()} {
		name := Dimensions()[i]
		if env, err = env.Extend(cel.Variable(name, p.celType(t))); err != nil {
			return nil, fmt.Errorf("make CEL environment of metrics: %w", err)
		}
		all[name] = &CELEnv{env}
	}
	return all, nil
}

// metricFunctions are those that Kubernetes' own libraries do not have.
func metricFunctions(w World) []cel.EnvOption {
	node, pod := cel.ObjectType("v1.Node"), cel.ObjectType("v1.Pod")
	number, text := cel.DoubleType, cel.StringType
	since := func(v ref.Val) ref.Val {
		return types.Double(w.Now().Sub(reflect.Indirect(v.(*object).ptr).FieldByName("CreationTimestamp").Field(0).Interface().(time.Time)).Seconds())
	}
	started := func(v ref.Val) ref.Val {
		if o, ok := v.(*object); ok {
			return types.Double(w.Started(o.Value().(*corev1.Node).Name))
		}
		return types.Double(w.Started(string(v.(types.String))))
	}
	unix := func(v ref.Val) ref.Val { return types.Double(float64(v.(types.Timestamp).UnixNano()) / 1e9) }
	all := []cel.EnvOption{
		cel.Function("Now", cel.Overload("now", nil, cel.TimestampType, cel.FunctionBinding(func(...ref.Val) ref.Val { return types.Timestamp{Time: w.Now().UTC()} }))),
		cel.Function("Rand", cel.Overload("rand", nil, number, cel.FunctionBinding(func(...ref.Val) ref.Val { return types.Double(rand.Float64()) }))),
	}
	all = append(all, both("UnixSecond", number, cel.UnaryBinding(unix), cel.TimestampType)...)
	all = append(all, both("SinceSecond", number, cel.UnaryBinding(since), node)...)
	all = append(all, both("SinceSecond", number, cel.UnaryBinding(since), pod)...)
	for _, name := range []string{"StartedContainersTotal", "startedContainersTotal"} { // the latter is its older name
		all = append(all, both(name, number, cel.UnaryBinding(started), node)...)
		all = append(all, cel.Function(name, cel.Overload(name+"_string", []*cel.Type{text}, number, cel.UnaryBinding(started))))
	}
	for name, ask := range map[string]func(Asked) func(*corev1.Pod, string, string) (float64, error){
		"Usage":           func(a Asked) func(*corev1.Pod, string, string) (float64, error) { return a.Usage },
		"CumulativeUsage": func(a Asked) func(*corev1.Pod, string, string) (float64, error) { return a.CumulativeUsage },
	} {
		for _, args := range [][]*cel.Type{{node, text}, {pod, text}, {pod, text, text}} {
			all = append(all, both(name, number, cel.FunctionBinding(usage(ask)), args...)...)
		}
	}
	return append(all, quantityFunctions()...)
}

// usage makes a function of what the receiver answers.
func usage(ask func(Asked) func(*corev1.Pod, string, string) (float64, error)) func(...ref.Val) ref.Val {
	return func(args ...ref.Val) ref.Val {
		of := args[0].(*object)
		if of.asked == nil {
			return types.NewErr("usage is known of the variables node and pod only")
		}
		pod, _ := of.Value().(*corev1.Pod) // nil: it is a node
		container := ""
		if len(args) > 2 {
			container = string(args[2].(types.String))
		}
		n, err := ask(of.asked)(pod, string(args[1].(types.String)), container)
		if err != nil {
			return types.WrapErr(err)
		}
		return types.Double(n)
	}
}

// both declares a function that is also a method of its first argument.
func both(name string, result *cel.Type, binding cel.OverloadOpt, args ...*cel.Type) []cel.EnvOption {
	id := name
	for _, a := range args {
		id += "_" + a.String()
	}
	return []cel.EnvOption{
		cel.Function(name, cel.Overload(id, args, result, binding)),
		cel.Function(name, cel.MemberOverload("method_"+id, args, result, binding)),
	}
}

// quantityFunctions say how quantities are made, converted and calculated with; quantity does the latter.
func quantityFunctions() []cel.EnvOption {
	parse := func(v ref.Val) ref.Val {
		q, err := resource.ParseQuantity(string(v.(types.String)))
		if err != nil {
			return types.NewErr("Quantity(%q): %v", v.Value(), err)
		}
		return quantity{q}
	}
	to := func(t ref.Type) cel.OverloadOpt {
		return cel.UnaryBinding(func(v ref.Val) ref.Val { return v.ConvertToType(t) })
	}
	all := []cel.EnvOption{
		cel.Function("Quantity", cel.Overload("quantity_of_string", []*cel.Type{cel.StringType}, quantityType, cel.UnaryBinding(parse))),
		cel.Function("double", cel.Overload("quantity_to_double", []*cel.Type{quantityType}, cel.DoubleType, to(types.DoubleType))),
		cel.Function("string", cel.Overload("quantity_to_string", []*cel.Type{quantityType}, cel.StringType, to(types.StringType))),
	}
	add := func(operator string, result *cel.Type, args ...*cel.Type) {
		id := "quantity" + operator
		for _, a := range args {
			id += "_" + a.String()
		}
		all = append(all, cel.Function(operator, cel.Overload(id, args, result)))
	}
	for _, op := range []string{operators.Add, operators.Subtract} {
		add(op, quantityType, quantityType, quantityType)
	}
	for _, op := range []string{operators.Multiply, operators.Divide} {
		for _, by := range []*cel.Type{cel.IntType, cel.UintType, cel.DoubleType} {
			add(op, quantityType, quantityType, by)
		}
	}
	for _, op := range []string{operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals} {
		add(op, cel.BoolType, quantityType, quantityType)
	}
	add(operators.Negate, quantityType, quantityType)
	return all
}

// amounts are quantities by resource; of what they do not name there is none.
type amounts struct{ traits.Mapper }

// Find returns a quantity.
func (a amounts) Find(key ref.Val) (ref.Val, bool) {
	if v, ok := a.Mapper.Find(key); ok {
		return v, true
	}
	return quantity{}, true
}

// Get returns a quantity.
func (a amounts) Get(key ref.Val) ref.Val {
	v, _ := a.Find(key)
	return v
}

// CompileNumber compiles an expression that yields a number.
func (e *CELEnv) CompileNumber(text string) (*CEL, error) {
	return e.compileTo(text, "a number", cel.IntType, cel.UintType, cel.DoubleType, cel.BoolType, cel.DurationType, quantityType)
}

// CompileString compiles an expression that yields a string.
func (e *CELEnv) CompileString(text string) (*CEL, error) {
	return e.compileTo(text, "a string", cel.StringType)
}

func (e *CELEnv) compileTo(text, want string, allowed ...*cel.Type) (*CEL, error) {
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("missing, want a CEL expression")
	}
	c, err := e.Compile(text)
	if err != nil {
		return nil, err
	}
	is := func(t *cel.Type) bool { return t.IsExactType(c.result) }
	if c.result.Kind() != types.DynKind && !slices.ContainsFunc(allowed, is) {
		return nil, fmt.Errorf("cel %q: yields %s, not %s", text, c.result, want)
	}
	return c, nil
}

// Number runs the expression.
func (c *CEL) Number(v *Vars) (float64, error) {
	got, err := c.run(v)
	if err != nil {
		return 0, err
	}
	switch n := got.(type) {
	case types.Bool:
		if n {
			return 1, nil
		}
		return 0, nil
	case types.Duration:
		return float64(n.Duration), nil
	case quantity:
		return n.number(), nil
	}
	if n, ok := plainNumber(got); ok {
		return n, nil
	}
	return 0, fmt.Errorf("cel %q: yields %s, not a number", c.text, got.Type().TypeName())
}

// Text runs the expression.
func (c *CEL) Text(v *Vars) (string, error) {
	got, err := c.run(v)
	if err != nil {
		return "", err
	}
	if s, ok := got.(types.String); ok {
		return string(s), nil
	}
	return "", fmt.Errorf("cel %q: yields %s, not a string", c.text, got.Type().TypeName())
}
