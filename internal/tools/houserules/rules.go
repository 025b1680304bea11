package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strings"
)

// Limits in lines. Tests are exempt: their tables are data.
const (
	maxFileLines     = 450
	maxFunctionLines = 60
	// maxSwitchLines is the limit for a function of a Caddyfile parser that is mainly one
	// switch: a long list of options is still easy to read.
	maxSwitchLines = 90
)

// marker matches the marks of unfinished work.
var marker = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

// checkMarkdown looks for markers in all lines.
func checkMarkdown(name string, content []byte) []finding {
	return markersIn(name, 1, string(content))
}

// markersIn returns a finding for each line of text with a marker; first is the
// number of its first line.
func markersIn(name string, first int, text string) []finding {
	var findings []finding
	line := first
	for content := range strings.Lines(text) {
		if word := marker.FindString(content); word != "" {
			findings = append(findings, finding{name, line, "unfinished work: " + word})
		}
		line++
	}
	return findings
}

// parseGo parses a Go file with its comments. The file is nil if it is generated.
func parseGo(name string, content []byte) (*token.FileSet, *ast.File, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, fmt.Errorf("parse: %w", err)
	}
	if ast.IsGenerated(file) {
		return nil, nil, nil
	}
	return fset, file, nil
}

// checkGo applies all rules to a Go file.
func checkGo(name string, content []byte) ([]finding, error) {
	fset, file, err := parseGo(name, content)
	if err != nil || file == nil {
		return nil, err
	}
	findings := markersInGo(name, fset, file)
	if strings.HasSuffix(name, "_test.go") {
		return findings, nil
	}
	if lines := bytes.Count(content, []byte("\n")); lines > maxFileLines {
		findings = append(findings, finding{name, 1, fmt.Sprintf("file has %d lines, at most %d", lines, maxFileLines)})
	}
	return append(findings, longFunctions(name, fset, file)...), nil
}

// markersInGo looks for markers in comments and in names, such as context's function for a
// context that is not chosen yet. Strings are left out, since a marker in a string can be
// data.
func markersInGo(name string, fset *token.FileSet, file *ast.File) []finding {
	var findings []finding
	for _, group := range file.Comments {
		for _, comment := range group.List {
			findings = append(findings, markersIn(name, fset.Position(comment.Pos()).Line, comment.Text)...)
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if ident, ok := node.(*ast.Ident); ok {
			findings = append(findings, markersIn(name, fset.Position(ident.Pos()).Line, ident.Name)...)
		}
		return true
	})
	return findings
}

// longFunctions returns the functions above their limit, counted from `func` to
// the closing brace. A literal counts for the function it stands in, or for
// itself outside of one.
func longFunctions(name string, fset *token.FileSet, file *ast.File) []finding {
	var findings []finding
	ast.Inspect(file, func(node ast.Node) bool {
		title, ok := functionTitle(node)
		if !ok {
			return true
		}
		limit := maxFunctionLines
		if strings.Contains(path.Base(name), "caddyfile") && mainlySwitch(fset, node) {
			limit = maxSwitchLines
		}
		if lines := lineCount(fset, node); lines > limit {
			text := fmt.Sprintf("%s has %d lines, at most %d", title, lines, limit)
			findings = append(findings, finding{name, fset.Position(node.Pos()).Line, text})
		}
		return false
	})
	return findings
}

// functionTitle returns the name of a function for a finding.
func functionTitle(node ast.Node) (title string, ok bool) {
	switch fn := node.(type) {
	case *ast.FuncDecl:
		return "function " + fn.Name.Name, true
	case *ast.FuncLit:
		return "function literal", true
	}
	return "", false
}

// mainlySwitch reports whether one switch takes at least half of the lines.
func mainlySwitch(fset *token.FileSet, fn ast.Node) bool {
	found := false
	ast.Inspect(fn, func(node ast.Node) bool {
		if sw, ok := node.(*ast.SwitchStmt); ok && 2*lineCount(fset, sw) >= lineCount(fset, fn) {
			found = true
		}
		return !found
	})
	return found
}

// lineCount counts the lines a node stands on.
func lineCount(fset *token.FileSet, node ast.Node) int {
	return fset.Position(node.End()).Line - fset.Position(node.Pos()).Line + 1
}
