package expr

import (
	"fmt"
	"math"
	"reflect"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apimachinery/pkg/api/resource"
)

// quantity is an amount in CEL, which can be calculated with. What is multiplied and divided has thousandths and no
// less.
type quantity struct{ resource.Quantity }

var quantityType = types.NewObjectType("kwok.Quantity", traits.AdderType, traits.SubtractorType, traits.MultiplierType,
	traits.DividerType, traits.NegatorType, traits.ComparerType)

// ConvertToNative returns a Go value.
func (q quantity) ConvertToNative(t reflect.Type) (any, error) {
	if t == reflect.TypeFor[resource.Quantity]() {
		return q.Quantity, nil
	}
	return nil, fmt.Errorf("a quantity is no %v", t)
}

// ConvertToType makes a number or a text of it.
func (q quantity) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.DoubleType:
		return types.Double(q.number())
	case types.StringType:
		return types.String(q.String())
	case types.TypeType:
		return quantityType
	}
	return types.NewErr("a quantity cannot become a %s", t.TypeName())
}

// Equal compares amounts.
func (q quantity) Equal(other ref.Val) ref.Val {
	o, ok := other.(quantity)
	return types.Bool(ok && q.Cmp(o.Quantity) == 0)
}

// Type returns the type in CEL.
func (q quantity) Type() ref.Type { return quantityType }

// Value returns the quantity of Kubernetes.
func (q quantity) Value() any { return q.Quantity }

// Compare orders amounts.
func (q quantity) Compare(other ref.Val) ref.Val {
	o, ok := other.(quantity)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	return types.Int(q.Cmp(o.Quantity))
}

// Add adds.
func (q quantity) Add(other ref.Val) ref.Val {
	o, ok := other.(quantity)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	sum := q.DeepCopy()
	sum.Add(o.Quantity)
	return quantity{sum}
}

// Subtract subtracts.
func (q quantity) Subtract(other ref.Val) ref.Val {
	o, ok := other.(quantity)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	rest := q.DeepCopy()
	rest.Sub(o.Quantity)
	return quantity{rest}
}

// Negate returns as much below zero.
func (q quantity) Negate() ref.Val {
	n := q.DeepCopy()
	n.Neg()
	return quantity{n}
}

// Multiply takes a number of times as much.
func (q quantity) Multiply(other ref.Val) ref.Val {
	n, ok := plainNumber(other)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	return q.scaled(q.milli() * n)
}

// Divide takes a part.
func (q quantity) Divide(other ref.Val) ref.Val {
	n, ok := plainNumber(other)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	if n == 0 {
		return types.NewErr("division of a quantity by zero")
	}
	return q.scaled(q.milli() / n)
}

// number is the amount, in ones.
func (q quantity) number() float64 { return q.milli() / 1000 }

// milli is the amount, in thousandths; those are exact.
func (q quantity) milli() float64 {
	milli := q.MilliValue()
	if q.Cmp(*resource.NewMilliQuantity(milli, q.Format)) != 0 { // there is more, or finer
		return q.AsApproximateFloat64() * 1000
	}
	return float64(milli)
}

// scaled makes an amount of thousandths, the rest of which is dropped; or of ones, if it is that large.
func (q quantity) scaled(milli float64) ref.Val {
	switch {
	case math.IsNaN(milli) || math.Abs(milli) >= math.MaxInt64*1000.0:
		return types.NewErr("quantity is out of range")
	case math.Abs(milli) >= math.MaxInt64:
		return quantity{*resource.NewQuantity(int64(milli/1000), q.Format)}
	}
	return quantity{*resource.NewMilliQuantity(int64(milli), q.Format)}
}

// plainNumber is what a quantity can be multiplied by.
func plainNumber(v ref.Val) (float64, bool) {
	switch v := v.(type) {
	case types.Int:
		return float64(v), true
	case types.Uint:
		return float64(v), true
	case types.Double:
		return float64(v), true
	}
	return 0, false
}
