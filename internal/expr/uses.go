package expr

import (
	"slices"
	"strings"

	"github.com/google/cel-go/common/ast"
)

// Uses returns the parts of its variables that an expression of metrics looks at, such as pod.metadata.annotations.
// There may be more of them than it does look at, not less.
func (c *CEL) Uses() []string { return c.uses }

// wanting are the functions that want nothing of their first argument but its name and age.
var wanting = strings.Fields("SinceSecond StartedContainersTotal startedContainersTotal Usage CumulativeUsage")

// usesOf collects the chains of fields that begin with a variable. below is what is selected of e, innermost first.
func usesOf(e ast.Expr, below []string) (all []string) {
	switch e.Kind() {
	case ast.IdentKind:
		path := append([]string{e.AsIdent()}, below...)
		return []string{strings.Join(path[:min(len(path), 3)], ".")}
	case ast.SelectKind:
		s := e.AsSelect()
		return usesOf(s.Operand(), append([]string{s.FieldName()}, below...))
	case ast.CallKind:
		c := e.AsCall()
		args := c.Args()
		if c.IsMemberFunction() {
			args = append([]ast.Expr{c.Target()}, args...)
		}
		for i, arg := range args {
			if i == 0 && arg.Kind() == ast.IdentKind && slices.Contains(wanting, c.FunctionName()) {
				continue
			}
			all = append(all, usesOf(arg, nil)...)
		}
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			all = append(all, usesOf(x, nil)...)
		}
	case ast.MapKind:
		for _, x := range e.AsMap().Entries() {
			all = append(append(all, usesOf(x.AsMapEntry().Key(), nil)...), usesOf(x.AsMapEntry().Value(), nil)...)
		}
	case ast.StructKind:
		for _, f := range e.AsStruct().Fields() {
			all = append(all, usesOf(f.AsStructField().Value(), nil)...)
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		for _, x := range []ast.Expr{c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()} {
			all = append(all, usesOf(x, nil)...)
		}
	}
	return all
}
