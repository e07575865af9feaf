// Package secret is one that no other program can import.
package secret

// Env is a type that nobody else can name.
type Env struct{ Log func() }

// With returns another one.
func (e Env) With() Env { return e }

// Config is another type.
type Config struct{}
