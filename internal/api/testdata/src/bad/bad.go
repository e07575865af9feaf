// Package bad has everything that an exported face must not have.
package bad

import (
	"context"

	"github.com/ackwire/ackwire/internal/api/testdata/src/internal/secret"
)

// Field has one in a field.
type Field struct {
	Env    secret.Env // says nothing
	hidden secret.Env
}

// Deep has one in a field's type, deep inside.
type Deep struct {
	// Of has many.
	Of map[string][]func(context.Context) (<-chan *secret.Env, error)
}

// Embeds embeds one.
type Embeds struct{ secret.Env }

// Method has one in a method's signature.
type Method struct{}

// Take takes one.
func (*Method) Take(secret.Env) {}

// hidden has exported methods and fields, which a type that embeds it shows.
type hidden struct {
	Shown secret.Env
}

// Promoted is not shown by hidden itself.
func (hidden) Promoted() secret.Env { return secret.Env{} }

// Promotes embeds a type without an exported name.
type Promotes struct{ *hidden }

type quiet = secret.Env

// PromotesAlias embeds one by another name.
type PromotesAlias struct{ quiet }

// Returns gives one that has no exported name.
func Returns() *hidden { return nil }

// Interface asks for one.
type Interface interface {
	// Make makes one.
	Make() secret.Config
}

// Constraint allows one.
type Constraint interface{ ~int | secret.Env }

// Generic is bound by one.
type Generic[T interface{ Take(secret.Env) }] struct{ t T }

// Function is bound by one.
func Function[T Constraint](T) {}

// Variable is one.
var Variable secret.Env

// Alias is one by another name.
type Alias = secret.Env

// Argument has one as an argument of its type.
type Argument struct {
	// G is one.
	G Box[secret.Env]
}

// Box is fine.
type Box[T any] struct {
	// V is what is in it.
	V T
}

// Tags has tags of a command line.
type Tags struct {
	// Slots is a number.
	Slots int `help:"Slots." default:"64"`
	// Hidden is not for the command line.
	Hidden bool `kong:"-"`
}

type Undocumented struct {
	A int

	// B is documented, and C is spoken for.
	B int
	C int

	D int
	E int // E is documented.
}

func (Undocumented) M() {}

func F() {}

const K = 1

var V = 1

// Group speaks for all in it.
const (
	G1 = 1
	G2 = 2
)
