package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/types"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"text/tabwriter"
)

// arrows has, for each file, the files that declare the objects it uses, with the names of
// these objects.
type arrows map[string]map[string][]string

// arrows of all packages. Types, functions, methods, fields, variables and constants count.
func (h *house) arrows() arrows {
	all := arrows{}
	for _, r := range h.packages {
		for _, f := range r.files {
			all[h.file(f.Package)] = map[string][]string{}
		}
		for id, o := range r.info.Uses {
			from := h.file(id.Pos())
			if !h.ours(o) || !declared(o) || h.file(o.Pos()) == from {
				continue
			}
			if to := h.file(o.Pos()); !slices.Contains(all[from][to], o.Name()) {
				all[from][to] = append(all[from][to], o.Name())
			}
		}
	}
	return all
}

// declared reports whether an object belongs to a package and not to a function.
func declared(o types.Object) bool {
	switch v := o.(type) {
	case *types.PkgName:
		return false
	case *types.Var:
		return v.IsField() || o.Parent() == o.Pkg().Scope()
	case *types.Func:
		return true
	}
	return o.Parent() == o.Pkg().Scope()
}

// within counts the arrows between the files of a folder, and those of them that are part
// of a circle of files.
func (a arrows) within(folder string) (count, circular int) {
	for from, tos := range a {
		for to := range tos {
			if path.Dir(from) != folder || path.Dir(to) != folder {
				continue
			}
			count++
			if a.reaches(to, from, map[string]bool{}) {
				circular++
			}
		}
	}
	return count, circular
}

// reaches reports whether arrows lead from one file to another within its folder.
func (a arrows) reaches(from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	seen[from] = true
	for next := range a[from] {
		if !seen[next] && path.Dir(next) == path.Dir(to) && a.reaches(next, to, seen) {
			return true
		}
	}
	return false
}

// printCircles lists the arrows of a folder that are part of a circle of files.
func (h *house) printCircles(w io.Writer, folder string) {
	all := h.arrows()
	for _, from := range slices.Sorted(maps.Keys(all)) {
		for _, to := range slices.Sorted(maps.Keys(all[from])) {
			if path.Dir(from) == folder && path.Dir(to) == folder && all.reaches(to, from, map[string]bool{}) {
				slices.Sort(all[from][to])
				fmt.Fprintf(w, "%s -> %s %v\n", path.Base(from), path.Base(to), all[from][to])
			}
		}
	}
}

func (h *house) printPackages(w io.Writer) {
	all := h.arrows()
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "package\tfiles\tarrows between files\tof these in circles\tuses packages")
	files, count, circular := 0, 0, 0
	for _, r := range h.packages {
		folder := path.Dir(h.file(r.files[0].Package))
		n, c := all.within(folder)
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%v\n", folder, len(r.files), n, c, h.uses(r))
		files, count, circular = files+len(r.files), count+n, circular+c
	}
	fmt.Fprintf(table, "%d packages\t%d\t%d\t%d\t\n", len(h.packages), files, count, circular)
	table.Flush()
}

// uses returns the packages of the measured folder that a package imports.
func (h *house) uses(r *room) []string {
	var names []string
	for _, p := range r.Imports() {
		if h.byPath[p.Path()] != nil {
			names = append(names, p.Name())
		}
	}
	slices.Sort(names)
	return names
}

func (h *house) printLargestType(w io.Writer) {
	methods := map[string]int{}
	for _, r := range h.packages {
		for _, f := range r.files {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
					methods[r.Name()+"."+receiver(fn)]++
				}
			}
		}
	}
	names := slices.SortedFunc(maps.Keys(methods), func(a, b string) int { return cmp.Compare(methods[b], methods[a]) })
	fmt.Fprint(w, "\nmost methods:")
	for _, name := range names[:min(5, len(names))] {
		fmt.Fprintf(w, " %s %d", name, methods[name])
	}
	fmt.Fprintln(w)
}

// receiver returns the name of a method's type.
func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	id, ok := t.(*ast.Ident)
	if !ok {
		return "?"
	}
	return id.Name
}

// printSetting lists the files of the measured folder that contain a setting in a name, in
// any case.
func (h *house) printSetting(w io.Writer, setting string) error {
	written, err := regexp.Compile("(?i)" + regexp.QuoteMeta(setting))
	if err != nil {
		return fmt.Errorf("looking for %s: %w", setting, err)
	}
	var found []string
	for _, r := range h.packages {
		for _, f := range r.files {
			text, err := os.ReadFile(h.fset.Position(f.Package).Filename)
			if err != nil {
				return fmt.Errorf("reading a source: %w", err)
			}
			if written.Match(text) {
				found = append(found, h.file(f.Package))
			}
		}
	}
	fmt.Fprintf(w, "\n%s is written in %d files: %v\n", setting, len(found), found)
	return nil
}
