package main

import (
	"path"
	"regexp"
	"strings"
)

// namedTests has the declared tests, and the tests that documents name as
// proof.
type namedTests struct {
	declared map[string]bool
	named    []finding // with the test as its text
}

var (
	declaredTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	namedTest    = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)")
)

// read reads a file that declares tests or can name them.
func (n *namedTests) read(name, content string) {
	switch {
	case strings.HasSuffix(name, "_test.go"):
		if n.declared == nil {
			n.declared = make(map[string]bool)
		}
		for _, match := range declaredTest.FindAllStringSubmatch(content, -1) {
			n.declared[match[1]] = true
		}
	case path.Ext(name) == ".md":
		line := 1
		for text := range strings.Lines(content) {
			for _, match := range namedTest.FindAllStringSubmatch(text, -1) {
				n.named = append(n.named, finding{name, line, match[1]})
			}
			line++
		}
	}
}

// missing returns a finding for each named test that does not exist.
func (n *namedTests) missing() []finding {
	var findings []finding
	for _, f := range n.named {
		if !n.declared[f.text] {
			findings = append(findings, finding{f.file, f.line, "no such test: " + f.text})
		}
	}
	return findings
}
