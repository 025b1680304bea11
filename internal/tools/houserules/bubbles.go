package main

import (
	"go/ast"
	"go/token"
	"slices"
)

// folder has the functions of one folder.
type folder struct {
	sources []*source
	// takers are the functions that call some of their parameters only in bubbles of
	// testing/synctest, with the indexes of these parameters.
	takers map[string][]int
	// callers are the places that use a function, by its name.
	callers map[string][]scope
}

// source is one parsed file.
type source struct {
	name string
	fset *token.FileSet
	file *ast.File
}

// scope is the place of a node.
type scope struct {
	function string // that it is in, empty outside of functions
	bubble   bool   // whether it is in a function literal that runs in a bubble
}

// findTakers finds the functions that call parameters only in bubbles, also through another
// such function. Methods are left out, since many share a name, such as Run.
func (f *folder) findTakers() {
	functions := f.functions()
	for known := -1; known < len(f.takers); {
		known = len(f.takers)
		for _, fn := range functions {
			if taken := f.taken(fn); fn.Recv == nil && taken != nil {
				f.takers[fn.Name.Name] = taken
			}
		}
	}
}

// functions returns the declared functions.
func (f *folder) functions() (all []*ast.FuncDecl) {
	for _, s := range f.sources {
		for _, decl := range s.file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				all = append(all, fn)
			}
		}
	}
	return all
}

// taken returns the indexes of the parameters that a function uses in bubbles only.
func (f *folder) taken(fn *ast.FuncDecl) (indexes []int) {
	index := 0
	for _, field := range fn.Type.Params.List {
		_, callable := field.Type.(*ast.FuncType)
		for _, ident := range field.Names {
			if callable && f.onlyInBubbles(fn, ident) {
				indexes = append(indexes, index)
			}
			index++
		}
	}
	return indexes
}

// onlyInBubbles reports whether a function uses a parameter, and does so in bubbles only.
func (f *folder) onlyInBubbles(fn *ast.FuncDecl, parameter *ast.Ident) bool {
	used, only := false, true
	f.walk(fn, func(node ast.Node, in scope) {
		if ident, ok := node.(*ast.Ident); ok && ident != parameter && ident.Name == parameter.Name {
			used = true
			only = only && in.bubble
		}
	})
	return used && only
}

// findCallers finds the uses of functions.
func (f *folder) findCallers() {
	for _, s := range f.sources {
		selected := make(map[*ast.Ident]bool)
		f.walk(s.file, func(node ast.Node, in scope) {
			switch n := node.(type) {
			case *ast.FuncDecl:
				selected[n.Name] = true // its declaration is no use
			case *ast.SelectorExpr:
				selected[n.Sel] = true
				f.addCaller("."+n.Sel.Name, in)
			case *ast.Ident:
				if !selected[n] {
					f.addCaller(n.Name, in)
				}
			}
		})
	}
}

// addCaller adds a use of a function in another one.
func (f *folder) addCaller(name string, in scope) {
	if in.function != name {
		f.callers[name] = append(f.callers[name], in)
	}
}

// inBubbles returns the functions that are used in bubbles only, by their names. A function
// that no other one uses, such as a test, is not among them.
func (f *folder) inBubbles() map[string]bool {
	inside := make(map[string]bool)
	for name := range f.callers {
		inside[name] = true
	}
	for changed := true; changed; {
		changed = false
		for name := range inside {
			if slices.ContainsFunc(f.callers[name], func(in scope) bool { return !in.bubble && !inside[in.function] }) {
				delete(inside, name)
				changed = true
			}
		}
	}
	return inside
}

// walk visits all nodes below one with their scopes.
func (f *folder) walk(node ast.Node, visit func(ast.Node, scope)) {
	ast.Walk(walker{folder: f, visit: visit}, node)
}

// walker visits nodes in one scope.
type walker struct {
	folder *folder
	in     scope
	visit  func(ast.Node, scope)
}

// Visit implements ast.Visitor.
func (w walker) Visit(node ast.Node) ast.Visitor {
	switch n := node.(type) {
	case nil:
		return nil
	case *ast.FuncDecl:
		w.in = scope{functionName(n), waitsForBubble(n.Body)}
	case *ast.FuncLit:
		w.in.bubble = w.in.bubble || waitsForBubble(n.Body)
	case *ast.CallExpr:
		if taken := w.folder.takenBy(n.Fun); taken != nil {
			w.visit(n, w.in)
			w.walkCall(n, taken)
			return nil
		}
	}
	w.visit(node, w.in)
	return w
}

// walkCall visits the nodes of a call that runs some of its arguments in a bubble.
func (w walker) walkCall(call *ast.CallExpr, taken []int) {
	ast.Walk(w, call.Fun)
	for i, arg := range call.Args {
		inside := w
		inside.in.bubble = w.in.bubble || isFunction(arg) && slices.Contains(taken, i)
		ast.Walk(inside, arg)
	}
}

// waitsForBubble reports whether a function calls synctest.Wait, which panics outside of
// bubbles. Literals in it count for themselves.
func waitsForBubble(body *ast.BlockStmt) (found bool) {
	if body == nil {
		return false
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.SelectorExpr:
			found = found || isName(n.X, "synctest") && n.Sel.Name == "Wait"
		}
		return !found
	})
	return found
}

// takenBy returns the indexes of the arguments that a function calls in bubbles only.
func (f *folder) takenBy(fn ast.Expr) []int {
	switch fn := fn.(type) {
	case *ast.Ident:
		return f.takers[fn.Name]
	case *ast.SelectorExpr:
		if isName(fn.X, "synctest") && fn.Sel.Name == "Test" {
			return []int{1}
		}
	}
	return nil
}

// functionName returns the name of a function as its uses are written: with a dot for a
// method.
func functionName(fn *ast.FuncDecl) string {
	if fn.Recv != nil {
		return "." + fn.Name.Name
	}
	return fn.Name.Name
}

// isFunction reports whether an argument can be a function that was not called before the
// call.
func isFunction(arg ast.Expr) bool {
	switch arg.(type) {
	case *ast.FuncLit, *ast.Ident, *ast.SelectorExpr:
		return true
	}
	return false
}
