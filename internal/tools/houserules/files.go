package main

import (
	"path"
	"regexp"
	"strings"
)

// namedFiles has all files, and the sources that documents name. Decisions and the
// changelog are left out: they name the sources of their time.
type namedFiles struct {
	all   []string
	named []finding // with the file as its text
}

// namedFile matches a source in a document.
var namedFile = regexp.MustCompile("`([\\w./-]+\\.go)`")

// historical reports whether a document describes the past and is not kept up to date.
func historical(name string) bool {
	return strings.HasPrefix(name, "docs/decisions/") || name == "CHANGELOG.md"
}

// read reads a file.
func (n *namedFiles) read(name, content string) {
	n.all = append(n.all, name)
	if path.Ext(name) != ".md" || historical(name) {
		return
	}
	line := 1
	for text := range strings.Lines(content) {
		for _, match := range namedFile.FindAllStringSubmatch(text, -1) {
			n.named = append(n.named, finding{name, line, match[1]})
		}
		line++
	}
}

// missing returns a finding for each named file that does not exist.
func (n *namedFiles) missing() []finding {
	var findings []finding
	for _, f := range n.named {
		if !n.has(f.text) {
			findings = append(findings, finding{f.file, f.line, "no such file: " + f.text})
		}
	}
	return findings
}

// has reports whether a path, or the end of one, is the path of a file.
func (n *namedFiles) has(named string) bool {
	for _, name := range n.all {
		if name == named || strings.HasSuffix(name, "/"+named) {
			return true
		}
	}
	return false
}
