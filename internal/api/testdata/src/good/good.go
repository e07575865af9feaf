// Package good uses an internal package, and shows nothing of it.
package good

import "github.com/ackwire/ackwire/internal/api/testdata/src/internal/secret"

// Worker does work.
type Worker struct {
	// Name is its name.
	Name string
	env  secret.Env
	base
}

type base struct{ On bool }

// Run runs it.
func (w *Worker) Run(b Box[string]) error { return start(w.env, b) }

// Stop is promoted.
func (*base) Stop() {}

// Box holds something.
type Box[T any] struct {
	// V is what.
	V T
}

// Get returns it.
func (b Box[T]) Get() T { return b.V }

// Asks asks.
type Asks interface {
	// Ask asks for something.
	Ask(what string) (int, error)
}

// Max is a bound.
const Max = 1 << 40

// Func is a function.
type Func func(n int) error

// Name is another name of a type.
type Name = string

func start(secret.Env, Box[string]) error { return nil }
