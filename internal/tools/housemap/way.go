package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"io"
	"os"
	"path"
	"strings"
)

// ran has the blocks of code that a request has run, by the base name of their folder and
// file. An empty map means all blocks.
type ran map[string][]block

// block is a part of a file, between two lines and columns.
type block struct{ fromLine, fromColumn, toLine, toColumn int }

// readProfile reads a coverage profile as `go test -coverprofile` writes it.
func readProfile(name string) (ran, error) {
	if name == "" {
		return nil, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the profile: %w", err)
	}
	defer file.Close()
	all := ran{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		source, rest, ok := strings.Cut(lines.Text(), ":")
		var b block
		var statements, count int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.fromLine, &b.fromColumn, &b.toLine, &b.toColumn, &statements, &count); !ok || err != nil {
			continue // the line of the mode
		}
		if count > 0 {
			all[short(source)] = append(all[short(source)], b)
		}
	}
	return all, nil
}

// short returns the name of a file with that of its folder.
func short(name string) string { return path.Join(path.Base(path.Dir(name)), path.Base(name)) }

// walk follows the calls of a function, each function once.
type walk struct {
	h       *house
	ran     ran
	bodies  map[*types.Func]*ast.FuncDecl
	rooms   map[*types.Func]*room
	seen    map[*types.Func]bool
	steps   []string // names of functions
	files   []string // of the steps
	methods map[string][]*types.Func
}

func (h *house) printWay(w io.Writer, start string, ran ran, list bool) error {
	k := &walk{h: h, ran: ran, bodies: map[*types.Func]*ast.FuncDecl{}, rooms: map[*types.Func]*room{}, seen: map[*types.Func]bool{}, methods: map[string][]*types.Func{}}
	first := k.index(start)
	if first == nil {
		return fmt.Errorf("no function %s", start)
	}
	k.visit(first)
	distinct, changes := map[string]bool{}, 0
	for i, file := range k.files {
		distinct[file] = true
		if i > 0 && k.files[i-1] != file {
			changes++
		}
		if list {
			fmt.Fprintf(w, "%s\t%s\n", file, k.steps[i])
		}
	}
	fmt.Fprintf(w, "\nthe way of %s: %d steps in %d files with %d changes of file\n", start, len(k.steps), len(distinct), changes)
	return nil
}

// index records all functions, and returns the first one of the way.
func (k *walk) index(start string) (first *types.Func) {
	for _, r := range k.h.packages {
		for _, f := range r.files {
			for _, d := range f.Decls {
				decl, ok := d.(*ast.FuncDecl)
				if !ok || decl.Body == nil {
					continue
				}
				fn := r.info.Defs[decl.Name].(*types.Func)
				k.bodies[fn], k.rooms[fn] = decl, r
				name := decl.Name.Name
				if decl.Recv != nil {
					k.methods[name] = append(k.methods[name], fn)
					name = receiver(decl) + "." + name
				}
				if name == start {
					first = fn
				}
			}
		}
	}
	return first
}

// visit records a step, and then the steps of the functions that it calls. A function that
// calls no other function of the measured folder belongs to the step of its caller.
func (k *walk) visit(fn *types.Func) {
	decl := k.bodies[fn]
	if decl == nil || k.seen[fn] || !k.hasRun(decl.Body.Lbrace, decl) {
		return
	}
	k.seen[fn] = true
	calls := k.calls(fn)
	if len(calls) == 0 {
		return
	}
	k.steps = append(k.steps, fn.FullName())
	k.files = append(k.files, k.h.file(decl.Pos()))
	for _, called := range calls {
		k.visit(called)
	}
}

// calls returns the functions of the measured folder that a function calls, in the order of
// its text. Deferred calls are the last ones.
func (k *walk) calls(fn *types.Func) (called []*types.Func) {
	r, decl := k.rooms[fn], k.bodies[fn]
	var deferred []ast.Node
	look := func(n ast.Node) bool {
		if d, ok := n.(*ast.DeferStmt); ok {
			deferred = append(deferred, d.Call)
			return false
		}
		id, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		if o, ok := r.info.Uses[id].(*types.Func); ok && k.hasRun(id.Pos(), decl) {
			if one := k.resolve(o.Origin()); one != nil {
				called = append(called, one)
			}
		}
		return true
	}
	ast.Inspect(decl.Body, look)
	for i := 0; i < len(deferred); i++ { // a deferred function can defer calls
		ast.Inspect(deferred[i], look)
	}
	return called
}

// resolve returns the function itself, or for a method of an interface the only method of
// the measured folder that implements it.
func (k *walk) resolve(fn *types.Func) *types.Func {
	if k.bodies[fn] != nil {
		return fn
	}
	recv := fn.Signature().Recv()
	if recv == nil {
		return nil
	}
	face, ok := recv.Type().Underlying().(*types.Interface)
	if !ok || !k.h.ours(fn) {
		return nil
	}
	var found *types.Func
	for _, m := range k.methods[fn.Name()] {
		if !types.Implements(m.Signature().Recv().Type(), face) {
			continue
		}
		if found != nil {
			return nil
		}
		found = m
	}
	return found
}

// hasRun reports whether the request has run a place.
func (k *walk) hasRun(at token.Pos, decl *ast.FuncDecl) bool {
	if k.ran == nil {
		return true
	}
	p := k.h.fset.Position(at)
	for _, b := range k.ran[short(k.h.file(decl.Pos()))] {
		after := p.Line > b.fromLine || (p.Line == b.fromLine && p.Column >= b.fromColumn)
		before := p.Line < b.toLine || (p.Line == b.toLine && p.Column <= b.toColumn)
		if after && before {
			return true
		}
	}
	return false
}
