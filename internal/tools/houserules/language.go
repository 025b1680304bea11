package main

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"strings"
)

// A term is an expression that documents and comments do not use.
type term struct {
	pattern   *regexp.Regexp
	allowed   *regexp.Regexp // matches that are correct; nil: none
	documents bool           // checked in documents only: comments have other uses for it
	instead   string         // for the author of the text
}

// checkLanguage returns the findings of the language rules in a document or in the
// comments of a Go file.
func checkLanguage(name string, content []byte) ([]finding, error) {
	if path.Ext(name) == ".md" {
		text := prose(string(content))
		return append(audience(name, text), findTerms(name, 1, text, func(term, string) bool { return true })...), nil
	}
	return checkComments(name, content)
}

// checkComments returns the findings of the language rules in the comments of a Go file.
// The names that the file declares are allowed.
func checkComments(name string, content []byte) ([]finding, error) {
	fset, file, err := parseGo(name, content)
	if err != nil || file == nil {
		return nil, err
	}
	names := declared(file)
	applies := func(t term, match string) bool { return !t.documents && !names[match] }
	var findings []finding
	for _, group := range file.Comments {
		first, last := fset.Position(group.Pos()), fset.Position(group.End())
		text := commentText(string(content[first.Offset:last.Offset]))
		findings = append(findings, findTerms(name, first.Line, text, applies)...)
	}
	return findings, nil
}

// declared returns the names of a file's functions, types, constants, variables and fields.
func declared(file *ast.File) map[string]bool {
	names := make(map[string]bool)
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			names[n.Name.Name] = true
		case *ast.TypeSpec:
			names[n.Name.Name] = true
		case *ast.ValueSpec:
			addNames(names, n.Names)
		case *ast.Field:
			addNames(names, n.Names)
		}
		return true
	})
	return names
}

func addNames(names map[string]bool, idents []*ast.Ident) {
	for _, ident := range idents {
		names[ident.Name] = true
	}
}

// findTerms returns a finding for each use of a term that applies; first is the number of
// the text's first line.
func findTerms(name string, first int, text string, applies func(t term, match string) bool) []finding {
	var findings []finding
	for _, t := range terms {
		for _, at := range t.pattern.FindAllStringIndex(text, -1) {
			match := text[at[0]:at[1]]
			if t.allowed != nil && t.allowed.MatchString(match) || !applies(t, match) {
				continue
			}
			line := first + strings.Count(text[:at[0]], "\n")
			words := strings.Join(strings.Fields(match), " ")
			findings = append(findings, finding{name, line, fmt.Sprintf("language: %q: %s", words, t.instead)})
		}
	}
	return findings
}

// Parts of a document that are no prose. The generated tables stand between two marks.
var (
	fences    = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	indented  = regexp.MustCompile(`(?m)^(?:\t|    ).*$`)
	generated = regexp.MustCompile(`(?s)<!-- [a-z]+ -->.*?<!-- end of [a-z]+ -->`)
	code      = regexp.MustCompile("`(?:[^`\n]|\n[^`\n])*`")
	addresses = regexp.MustCompile(`\]\([^)]*\)|<https?:[^>]*>`)
)

// prose returns a document with everything but its prose blanked out. Lines stay where
// they are.
func prose(document string) string {
	for _, part := range []*regexp.Regexp{fences, indented, generated, code, addresses} {
		document = part.ReplaceAllStringFunc(document, blank)
	}
	return document
}

// Parts of a comment that are no prose.
var (
	slashes = regexp.MustCompile(`(?m)^\s*//|/\*|\*/`)
	quoted  = regexp.MustCompile("\"[^\"\n]*\"|`[^`\n]*`|'[^' \n]*'")
)

// commentText returns the prose of a comment group. Lines stay where they are.
func commentText(source string) string {
	text := slashes.ReplaceAllStringFunc(source, func(s string) string { return strings.Repeat(" ", len(s)) })
	return quoted.ReplaceAllStringFunc(text, blank)
}

// blank replaces everything but line breaks by a character that is neither a letter nor a
// space, so that no term matches across the gap.
func blank(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return '^'
	}, s)
}

// audience returns a finding if a document does not begin with its readers.
func audience(name, text string) []finding {
	line := 0
	for content := range strings.Lines(text) {
		line++
		content = strings.TrimSpace(content)
		if content == "" || strings.HasPrefix(content, "#") {
			continue
		}
		if strings.HasPrefix(content, "For ") {
			return nil
		}
		break
	}
	return []finding{{name, line, `language: a document begins with its readers: "For operators ..."`}}
}
