package docs

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A page says where a number comes from in a comment behind it, which readers do not see:
//
//	after 10 s<!-- = --tracker-session-timeout -->, or 24 hours<!-- = schemas/job:MaxUnserved -->
//
// Two dashes name a setting, whose default it is; a folder and a name are a constant; local and a name are a bound of
// the default --kafka-profile, by the table in docs/deploy.md, which a test of internal/kafka compares with the code.
var marker = regexp.MustCompile(`([0-9][0-9.,]*) ?([\w]*)<!-- = (\S+) -->`)

// units are what one of each is, in nanoseconds or bytes or alone.
var units = map[string]float64{
	"":   1,
	"ms": 1e6, "s": 1e9, "second": 1e9, "seconds": 1e9, "minute": 60e9, "minutes": 60e9, "min": 60e9,
	"hour": 3600e9, "hours": 3600e9, "h": 3600e9, "day": 24 * 3600e9, "days": 24 * 3600e9,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

// leastMarked is how many numbers must have been held against the code, so that the form above
// cannot be lost unnoticed.
const leastMarked = 20

// TestNumbersAreTheCodes compares the numbers in pages with the constants and defaults they tell.
func TestNumbersAreTheCodes(t *testing.T) {
	r := theTree(t)
	marked := 0
	for name, page := range r.pages {
		for _, m := range marker.FindAllStringSubmatch(page, -1) {
			marked++
			unit, known := units[m[2]]
			said, err := time.ParseDuration(strings.ReplaceAll(m[1], ",", "") + "ns")
			want, found := r.value(m[3])
			switch {
			case !known || err != nil:
				t.Errorf("%s: %q is no number with a unit", name, m[0])
			case !found:
				t.Errorf("%s: there is no %s", name, m[3])
			case float64(said)*unit != want:
				t.Errorf("%s: it says %s %s, and %s is %s", name, m[1], m[2], m[3], human(want))
			}
		}
		if n := strings.Count(page, "<!-- = "); n != len(marker.FindAllString(page, -1)) {
			t.Errorf("%s: a comment <!-- = … --> does not follow a number", name)
		}
	}
	if marked < leastMarked {
		t.Errorf("%d numbers are held against the code, fewer than %d", marked, leastMarked)
	}
}

func human(v float64) string {
	if v >= 1e6 {
		return time.Duration(v).String() + ", or as a plain number " + constant.MakeFloat64(v).ExactString()
	}
	return constant.MakeFloat64(v).ExactString()
}

// setting finds a setting's default in a row of the reference.
var setting = regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| `([^`]+)` \\|")

// bound finds a bound's value in the default profile.
var bound = regexp.MustCompile(`(?m)^\| ([A-Z][a-z]+) \| ([0-9a-z.]+) \|`)

// value is what a marker's source says, in nanoseconds, in bytes or alone.
func (r *tree) value(source string) (float64, bool) {
	if flag, ok := strings.CutPrefix(source, "--"); ok {
		for _, m := range setting.FindAllStringSubmatch(r.pages["docs/configure.md"], -1) {
			if m[1] != flag {
				continue
			}
			if d, err := time.ParseDuration(m[2]); err == nil {
				return float64(d), true
			}
			e, err := parser.ParseExpr(m[2])
			if err != nil {
				return 0, false
			}
			return number(r.evaluate(nil, "", e, 0))
		}
		return 0, false
	}
	folder, name, _ := strings.Cut(source, ":")
	if folder == "local" {
		for _, m := range bound.FindAllStringSubmatch(r.pages["docs/deploy.md"], -1) {
			if d, err := time.ParseDuration(m[2]); err == nil && m[1] == name {
				return float64(d), true
			}
		}
		return 0, false
	}
	return number(r.constant(folder, name, 0))
}

func number(v constant.Value) (float64, bool) {
	if v == nil || v.Kind() == constant.Unknown || v.Kind() == constant.String {
		return 0, false
	}
	f, _ := constant.Float64Val(v)
	return f, true
}

// constant looks a constant up in a folder's package.
func (r *tree) constant(folder, name string, depth int) constant.Value {
	for file, f := range r.goes {
		if path.Dir(file) != folder {
			continue
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				at := slices.IndexFunc(v.Names, func(n *ast.Ident) bool { return n.Name == name })
				if at >= 0 && at < len(v.Values) {
					return r.evaluate(f, folder, v.Values[at], depth+1)
				}
			}
		}
	}
	return nil
}

// times are the constants of package time.
var times = map[string]time.Duration{
	"Nanosecond": time.Nanosecond, "Microsecond": time.Microsecond, "Millisecond": time.Millisecond,
	"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
}

// imported is the folder of the package of this repository that a file knows by a name.
func imported(in *ast.File, name string) string {
	for _, i := range in.Imports {
		folder, ours := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), "github.com/ackwire/ackwire/")
		if ours && path.Base(folder) == name {
			return folder
		}
	}
	return ""
}

// evaluate reckons a constant expression in a file: of literals, time's units and constants of
// the repository. It returns nil for anything else.
func (r *tree) evaluate(in *ast.File, folder string, e ast.Expr, depth int) constant.Value {
	if depth > 10 {
		return nil
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.ParenExpr:
		return r.evaluate(in, folder, e.X, depth)
	case *ast.Ident:
		return r.constant(folder, e.Name, depth)
	case *ast.SelectorExpr:
		if d, ok := times[e.Sel.Name]; ok {
			return constant.MakeInt64(int64(d))
		}
		if from, ok := e.X.(*ast.Ident); ok && in != nil {
			return r.constant(imported(in, from.Name), e.Sel.Name, depth)
		}
	case *ast.BinaryExpr:
		x, y := r.evaluate(in, folder, e.X, depth), r.evaluate(in, folder, e.Y, depth)
		switch {
		case x == nil || y == nil:
			return nil
		case e.Op == token.SHL:
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(n))
		case e.Op == token.QUO && x.Kind() == constant.Int && y.Kind() == constant.Int:
			return constant.BinaryOp(x, token.QUO_ASSIGN, y)
		}
		return constant.BinaryOp(x, e.Op, y)
	}
	return nil
}
