package api

import (
	"fmt"
	"go/types"
	"reflect"
	"slices"
)

// Problems returns the problems of the package's exported API, one line each, sorted: a type of an internal
// package, however deep it is nested; a field with a struct tag of Ackwire's commands; a name without a
// comment.
func (p *Package) Problems() []string {
	w := &walk{pkg: p.types, seen: map[types.Type]bool{}}
	for _, obj := range p.exported() {
		at := p.types.Name() + "." + obj.Name()
		if tn, ok := obj.(*types.TypeName); ok && !tn.IsAlias() {
			w.members(at, tn.Type())
			continue
		}
		w.visit(at, obj.Type())
	}
	problems := append(w.problems, p.undocumented()...)
	slices.Sort(problems)
	return slices.Compact(problems)
}

// walk visits all types that occur in a package's exported API.
type walk struct {
	pkg      *types.Package
	seen     map[types.Type]bool // types without an exported name whose members were visited
	problems []string
}

func (w *walk) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// members visits the parts of a type of this package that users can reach: its underlying type, its
// exported fields and methods, and those that embedded types without an exported name promote.
func (w *walk) members(at string, t types.Type) {
	if w.seen[t] {
		return
	}
	w.seen[t] = true
	if named, ok := t.(*types.Named); ok {
		for p := range named.TypeParams().TypeParams() {
			w.visit(at+"["+p.Obj().Name()+"]", p.Constraint())
		}
	}
	for _, m := range methods(t) {
		w.visit(at+"."+m.Obj().Name(), m.Type())
	}
	w.visit(at, t.Underlying())
}

// visit visits a type that is found at the place at.
func (w *walk) visit(at string, t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		w.name(at, t.Obj())
		w.visit(at, types.Unalias(t))
	case *types.Named:
		w.name(at, t.Obj())
		for arg := range t.TypeArgs().Types() {
			w.visit(at, arg)
		}
		if t.Obj().Pkg() == w.pkg && !t.Obj().Exported() {
			w.members(at, t)
		}
	case *types.Pointer:
		w.visit(at, t.Elem())
	case *types.Slice:
		w.visit(at, t.Elem())
	case *types.Array:
		w.visit(at, t.Elem())
	case *types.Chan:
		w.visit(at, t.Elem())
	case *types.Map:
		w.visit(at, t.Key())
		w.visit(at, t.Elem())
	case *types.Signature:
		for p := range t.TypeParams().TypeParams() {
			w.visit(at+"["+p.Obj().Name()+"]", p.Constraint())
		}
		for v := range t.Params().Variables() {
			w.visit(at, v.Type())
		}
		for v := range t.Results().Variables() {
			w.visit(at, v.Type())
		}
	case *types.Struct:
		w.fields(at, t)
	case *types.Interface:
		for m := range t.Methods() {
			if m.Exported() {
				w.visit(at+"."+m.Name(), m.Type())
			}
		}
		for embedded := range t.EmbeddedTypes() {
			w.visit(at, embedded)
		}
	case *types.Union:
		for term := range t.Terms() {
			w.visit(at, term.Type())
		}
	}
}

// fields visits a struct's exported and embedded fields: an embedded type promotes its members even if its
// own name is not exported.
func (w *walk) fields(at string, s *types.Struct) {
	for i := range s.NumFields() {
		f := s.Field(i)
		if !f.Exported() && !f.Embedded() {
			continue
		}
		w.visit(at+"."+f.Name(), f.Type())
		for _, tag := range []string{"help", "embed", "kong"} {
			if _, ok := reflect.StructTag(s.Tag(i)).Lookup(tag); ok {
				w.problem("%s.%s has the tag %s of our command line", at, f.Name(), tag)
			}
		}
	}
}

// name reports a type of an internal package.
func (w *walk) name(at string, obj *types.TypeName) {
	if obj.Pkg() != nil && obj.Pkg() != w.pkg && internal(obj.Pkg().Path()) {
		w.problem("%s shows %s.%s, which no other program can import", at, obj.Pkg().Path(), obj.Name())
	}
}
