package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// house has the packages of the measured folder, type-checked.
type house struct {
	fset     *token.FileSet
	root     string // of the module
	packages []*room
	byPath   map[string]*room
}

// room is one package.
type room struct {
	*types.Package
	info  types.Info
	files []*ast.File
}

// listed is a package in the output of `go list`.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	Module                  *struct{ Dir string }
	DepOnly                 bool
}

// load type-checks the folder's packages from their sources, and reads all others from the
// build cache.
func load(folder string) (*house, error) {
	all, err := list(folder)
	if err != nil {
		return nil, err
	}
	h := &house{fset: token.NewFileSet(), byPath: map[string]*room{}}
	exports := map[string]string{}
	for _, p := range all {
		exports[p.ImportPath] = p.Export
	}
	others := importer.ForCompiler(h.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, p := range all { // dependencies come first
		if p.DepOnly || leftOut(p.ImportPath) {
			continue
		}
		h.root = p.Module.Dir
		if err := h.check(p, others); err != nil {
			return nil, err
		}
	}
	if len(h.packages) == 0 {
		return nil, fmt.Errorf("no package below %s", folder)
	}
	return h, nil
}

// leftOut reports whether a package is not measured: a plugin, or a package with tests
// only.
func leftOut(path string) bool {
	for _, part := range []string{"/celery", "/fidelity", "/backends", "/plugins"} {
		if strings.Contains(path+"/", part+"/") && strings.Contains(path, "/caddymodule/") {
			return true
		}
	}
	return false
}

func list(folder string) ([]listed, error) {
	command := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Module,DepOnly", "./"+folder+"/...")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("reading the output of go list: %w", err)
		}
		all = append(all, p)
	}
}

func (h *house) check(p listed, others types.Importer) error {
	r := &room{info: types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}}
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(h.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("reading a source: %w", err)
		}
		r.files = append(r.files, file)
	}
	config := types.Config{Importer: importers{h, others}}
	checked, err := config.Check(p.ImportPath, h.fset, r.files, &r.info)
	if err != nil {
		return fmt.Errorf("checking %s: %w", p.ImportPath, err)
	}
	r.Package = checked
	h.packages = append(h.packages, r)
	h.byPath[p.ImportPath] = r
	return nil
}

// importers returns the packages that were checked here, and others from the build cache,
// so that all users get the same object.
type importers struct {
	h      *house
	others types.Importer
}

// Import implements [types.Importer].
func (i importers) Import(path string) (*types.Package, error) {
	if r := i.h.byPath[path]; r != nil {
		return r.Package, nil
	}
	p, err := i.others.Import(path)
	if err != nil {
		return nil, fmt.Errorf("importing %s: %w", path, err)
	}
	return p, nil
}

// file returns the file of a position, relative to the module's root.
func (h *house) file(at token.Pos) string {
	name, err := filepath.Rel(h.root, h.fset.Position(at).Filename)
	if err != nil {
		return h.fset.Position(at).Filename
	}
	return filepath.ToSlash(name)
}

// ours reports whether an object is declared in one of the packages.
func (h *house) ours(o types.Object) bool {
	return o != nil && o.Pkg() != nil && h.byPath[o.Pkg().Path()] != nil && o.Pos().IsValid()
}
