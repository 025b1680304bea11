package main

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// links has the links between documents, and the headings that they can lead to.
type links struct {
	headings map[string]map[string]bool // anchors by document
	found    []link
}

// link is one link in a document. Its file is relative to the root.
type link struct {
	finding
	file, anchor string
}

var (
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	unslugged  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// read reads a document. Links to other sites are left out.
func (l *links) read(name, content string) {
	if path.Ext(name) != ".md" {
		return
	}
	if l.headings == nil {
		l.headings = make(map[string]map[string]bool)
	}
	text := fences.ReplaceAllStringFunc(content, blank)
	l.headings[name] = anchors(text)
	text = code.ReplaceAllStringFunc(text, blank)
	for _, at := range linkTarget.FindAllStringSubmatchIndex(text, -1) {
		target := text[at[2]:at[3]]
		if strings.Contains(target, ":") {
			continue
		}
		file, anchor, _ := strings.Cut(target, "#")
		if file = path.Join(path.Dir(name), file); strings.HasPrefix(target, "#") {
			file = name
		}
		line := 1 + strings.Count(text[:at[0]], "\n")
		l.found = append(l.found, link{finding{name, line, "broken link: " + target}, file, anchor})
	}
}

// anchors returns the anchors of a document's headings, as GitHub writes them.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		title := linkTarget.ReplaceAllString(match[1], "]")
		slug := strings.ReplaceAll(unslugged.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
		unique := slug
		for n := 1; all[unique]; n++ {
			unique = fmt.Sprint(slug, "-", n)
		}
		all[unique] = true
	}
	return all
}

// broken returns a finding for each link without a target. exists reports whether a path
// is a file or a folder.
func (l *links) broken(exists func(name string) bool) []finding {
	var findings []finding
	for _, one := range l.found {
		if !exists(one.file) || one.anchor != "" && !l.headings[one.file][one.anchor] {
			findings = append(findings, one.finding)
		}
	}
	return findings
}
