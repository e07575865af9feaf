package api

import (
	"fmt"
	"go/constant"
	"go/types"
	"slices"
	"strings"
)

// Lines returns the package's exported API, one line for each constant, variable, function, type, field and
// method, including fields and methods that are promoted from embedded types.
func (p *Package) Lines() []string {
	short := func(other *types.Package) string {
		if other == p.types {
			return ""
		}
		return other.Name()
	}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, obj := range p.exported() {
		switch obj := obj.(type) {
		case *types.Const:
			add("%s = %s", types.ObjectString(obj, short), exact(obj.Val()))
		case *types.TypeName:
			add("%s", head(obj, short))
			if obj.IsAlias() {
				continue
			}
			for _, f := range fields(obj.Type()) {
				add("field %s.%s %s", obj.Name(), f.Name(), types.TypeString(f.Type(), short))
			}
			for _, m := range methods(obj.Type()) {
				signature := strings.TrimPrefix(types.TypeString(m.Type(), short), "func")
				add("method (%s).%s%s", types.TypeString(m.Recv(), short), m.Obj().Name(), signature)
			}
		default:
			add("%s", types.ObjectString(obj, short))
		}
	}
	return lines
}

// head returns the line of a type. Fields of a struct and methods of an interface have their own lines.
func head(obj *types.TypeName, short types.Qualifier) string {
	if obj.IsAlias() {
		return types.ObjectString(obj, short)
	}
	kind := types.TypeString(obj.Type().Underlying(), short)
	switch u := obj.Type().Underlying().(type) {
	case *types.Struct:
		kind = "struct"
	case *types.Interface:
		if u.IsMethodSet() {
			kind = "interface"
		}
	}
	return "type " + types.TypeString(obj.Type(), short) + " " + kind
}

func exact(v constant.Value) string {
	if v.Kind() == constant.Float {
		return v.String()
	}
	return v.ExactString()
}

// exported returns the package's exported objects, sorted by name.
func (p *Package) exported() []types.Object {
	var all []types.Object
	for _, name := range p.types.Scope().Names() { // sorted
		if obj := p.types.Scope().Lookup(name); obj.Exported() {
			all = append(all, obj)
		}
	}
	return all
}

// fields returns the exported fields of a struct in their order, including those of embedded structs whose
// own name is not exported.
func fields(t types.Type) (all []*types.Var) {
	if pointer, ok := t.Underlying().(*types.Pointer); ok {
		t = pointer.Elem()
	}
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		return nil
	}
	for f := range s.Fields() {
		switch {
		case f.Exported():
			all = append(all, f)
		case f.Embedded():
			all = append(all, fields(f.Type())...)
		}
	}
	return all
}

// methods returns the exported methods of a type and of a pointer to it, each once, sorted by name.
func methods(t types.Type) (all []*types.Selection) {
	seen := map[string]bool{}
	sets := []*types.MethodSet{types.NewMethodSet(t)}
	if !types.IsInterface(t) {
		sets = append(sets, types.NewMethodSet(types.NewPointer(t)))
	}
	for _, set := range sets {
		for m := range set.Methods() {
			if m.Obj().Exported() && !seen[m.Obj().Name()] {
				seen[m.Obj().Name()] = true
				all = append(all, m)
			}
		}
	}
	slices.SortFunc(all, func(a, b *types.Selection) int {
		if a.Obj().Name() < b.Obj().Name() {
			return -1
		}
		return 1
	})
	return all
}
