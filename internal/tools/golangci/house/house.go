// Package house has rules of this project that no linter of golangci-lint has:
//
//   - The statement before the condition of an if or a switch must not change a variable that was declared
//     before. To assign what a call returns is allowed, as in "if err = f(); err != nil".
//   - At most three values are assigned in one statement. To assign what one call returns is allowed.
package house

import (
	"go/ast"
	"go/token"

	"github.com/golangci/plugin-module-register/register"
	"golang.org/x/tools/go/analysis"
)

// Analyzer reports what breaks the rules.
var Analyzer = &analysis.Analyzer{
	Name: "house",
	Doc:  "rules of this project: nothing is changed in a condition, and no four values are assigned at once",
	Run:  run,
}

func init() {
	register.Plugin(Analyzer.Name, func(any) (register.LinterPlugin, error) { return plugin{}, nil })
}

type plugin struct{}

func (plugin) BuildAnalyzers() ([]*analysis.Analyzer, error) {
	return []*analysis.Analyzer{Analyzer}, nil
}
func (plugin) GetLoadMode() string { return register.LoadModeSyntax }

const maxAssigned = 3

func run(pass *analysis.Pass) (any, error) {
	for _, file := range pass.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.IfStmt:
				head(pass, n.Init)
			case *ast.SwitchStmt:
				head(pass, n.Init)
			case *ast.TypeSwitchStmt:
				head(pass, n.Init)
			case *ast.AssignStmt:
				if len(n.Lhs) > maxAssigned && len(n.Rhs) > 1 {
					pass.Reportf(n.Pos(), "%d values are assigned at once: give them statements of their own", len(n.Lhs))
				}
			}
			return true
		})
	}
	return nil, nil
}

// head checks the statement before a condition.
func head(pass *analysis.Pass, init ast.Stmt) {
	const message = "a condition changes a variable: do it in a statement before"
	switch s := init.(type) {
	case *ast.IncDecStmt, *ast.SendStmt:
		pass.Reportf(s.Pos(), message)
	case *ast.AssignStmt:
		if s.Tok != token.DEFINE && !receives(s) {
			pass.Reportf(s.Pos(), message)
		}
	}
}

// receives reports whether an assignment has one call, channel receive, map lookup or type assertion on its right.
func receives(s *ast.AssignStmt) bool {
	if s.Tok != token.ASSIGN || len(s.Rhs) != 1 {
		return false
	}
	switch value := ast.Unparen(s.Rhs[0]).(type) {
	case *ast.CallExpr, *ast.TypeAssertExpr:
		return true
	case *ast.IndexExpr:
		return len(s.Lhs) == 2
	case *ast.UnaryExpr:
		return value.Op == token.ARROW
	}
	return false
}
