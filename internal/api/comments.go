package api

import (
	"fmt"
	"go/ast"
	"go/token"
)

// undocumented returns the exported names that have no comment: neither before the name, nor at the end of
// its line, nor for its group. In a struct, a comment also covers the fields below it up to an empty line.
// Generated files are left out.
func (p *Package) undocumented() (problems []string) {
	missing := func(name string) {
		problems = append(problems, fmt.Sprintf("%s.%s has no comment", p.types.Name(), name))
	}
	for _, file := range p.files {
		if ast.IsGenerated(file) {
			continue
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if name, ok := exportedFunc(d); ok && d.Doc == nil {
					missing(name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					p.spec(d, spec, missing)
				}
			}
		}
	}
	return problems
}

// exportedFunc returns the name of an exported function, or of an exported method of an exported type.
func exportedFunc(d *ast.FuncDecl) (name string, ok bool) {
	if !d.Name.IsExported() {
		return "", false
	}
	if d.Recv == nil {
		return d.Name.Name, true
	}
	t := d.Recv.List[0].Type
	for {
		switch of := t.(type) {
		case *ast.StarExpr:
			t = of.X
		case *ast.IndexExpr:
			t = of.X
		case *ast.IndexListExpr:
			t = of.X
		case *ast.Ident:
			return of.Name + "." + d.Name.Name, of.IsExported()
		default:
			return "", false
		}
	}
}

// spec checks one constant, variable or type.
func (p *Package) spec(d *ast.GenDecl, spec ast.Spec, missing func(string)) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				missing(name.Name)
			}
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		if d.Doc == nil && s.Doc == nil && s.Comment == nil {
			missing(s.Name.Name)
		}
		switch t := s.Type.(type) {
		case *ast.StructType:
			p.fieldComments(s.Name.Name, t.Fields, missing)
		case *ast.InterfaceType:
			p.fieldComments(s.Name.Name, t.Methods, missing)
		}
	}
}

// fieldComments reports the fields of a struct, or the methods of an interface, that no comment covers.
func (p *Package) fieldComments(of string, list *ast.FieldList, missing func(string)) {
	line := func(pos token.Pos) int { return p.set.Position(pos).Line }
	end, covered := 0, false
	for _, f := range list.List {
		switch {
		case f.Doc != nil:
			covered = true
		case line(f.Pos()) > end+1:
			covered = false
		}
		end = line(f.End())
		for _, name := range f.Names {
			if name.IsExported() && !covered && f.Comment == nil {
				missing(of + "." + name.Name)
			}
		}
	}
}
