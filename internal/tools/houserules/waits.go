package main

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// instead is the finding about a bare wait.
const instead = "bare wait: use a signal, testkit.Eventually, Pause or Quiet, or a bubble of testing/synctest"

// waits has the sources of tests and of their kits by folder, to find bare waits: receives
// from time.After and the like in real time that are not cases of a select. In a bubble
// of testing/synctest they are allowed, since time is virtual there.
//
// The rule looks at names, without types. A method counts as used wherever a method or
// function of its name is selected.
type waits struct{ folders map[string]*folder }

// ofTests reports whether the rule holds for a file.
func ofTests(name string) bool {
	return strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "internal/testkit/") || strings.Contains(name, "/internal/kit/")
}

// read reads a file of tests.
func (w *waits) read(name string, content []byte) error {
	if path.Ext(name) != ".go" || !ofTests(name) {
		return nil
	}
	fset, file, err := parseGo(name, content)
	if err != nil || file == nil {
		return err
	}
	if w.folders == nil {
		w.folders = make(map[string]*folder)
	}
	dir := path.Dir(name)
	if w.folders[dir] == nil {
		w.folders[dir] = &folder{takers: make(map[string][]int), callers: make(map[string][]scope)}
	}
	w.folders[dir].sources = append(w.folders[dir].sources, &source{name, fset, file})
	return nil
}

// bare returns a finding for each bare wait.
func (w *waits) bare() []finding {
	var findings []finding
	for _, f := range w.folders {
		findings = append(findings, f.bare()...)
	}
	slices.SortFunc(findings, func(a, b finding) int {
		if a.file != b.file {
			return strings.Compare(a.file, b.file)
		}
		return a.line - b.line
	})
	return findings
}

func (f *folder) bare() []finding {
	f.findTakers()
	f.findCallers()
	inBubbles := f.inBubbles()
	var findings []finding
	for _, s := range f.sources {
		inSelect := make(map[ast.Node]bool)
		f.walk(s.file, func(node ast.Node, in scope) {
			if sel, ok := node.(*ast.SelectStmt); ok {
				addReceives(inSelect, sel)
			}
			if isWait(node) && !inSelect[node] && !in.bubble && !inBubbles[in.function] {
				findings = append(findings, finding{s.name, s.fset.Position(node.Pos()).Line, instead})
			}
		})
	}
	return findings
}

// addReceives adds the receives of a select that has a choice.
func addReceives(to map[ast.Node]bool, sel *ast.SelectStmt) {
	for _, clause := range sel.Body.List {
		if len(sel.Body.List) < 2 {
			return
		}
		switch comm := clause.(*ast.CommClause).Comm.(type) {
		case *ast.ExprStmt:
			to[comm.X] = true
		case *ast.AssignStmt:
			to[comm.Rhs[0]] = true
		}
	}
}

// isWait reports whether a node receives from a new timer or ticker.
func isWait(node ast.Node) bool {
	receive, ok := node.(*ast.UnaryExpr)
	if !ok || receive.Op != token.ARROW {
		return false
	}
	if field, ok := receive.X.(*ast.SelectorExpr); ok && field.Sel.Name == "C" {
		return callsTime(field.X, "NewTimer", "NewTicker")
	}
	return callsTime(receive.X, "After", "Tick")
}

// callsTime reports whether an expression calls one of these functions of package time.
func callsTime(expr ast.Expr, functions ...string) bool {
	call, ok := expr.(*ast.CallExpr)
	if !ok {
		return false
	}
	fn, ok := call.Fun.(*ast.SelectorExpr)
	return ok && isName(fn.X, "time") && slices.Contains(functions, fn.Sel.Name)
}

// isName reports whether an expression is a name.
func isName(expr ast.Expr, name string) bool {
	ident, ok := expr.(*ast.Ident)
	return ok && ident.Name == name
}
