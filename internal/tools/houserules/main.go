// Command houserules checks the rules of this project that no linter has: markers of
// unfinished work, the size of Go files and functions, bare waits in tests, tests, sources
// and links in documents that do not exist, and the language of documents and comments. It
// prints its findings and fails if there are any.
//
// The language rules are described in docs/style.md. They hold for the files and folders
// in covered.txt, next to this file.
//
//	go run ./internal/tools/houserules [root]
package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/caddy-offload/caddy-offload/internal/tools/tree"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	ok, err := report(os.DirFS(root), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "houserules:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// finding is a place that breaks a rule.
type finding struct {
	file string
	line int
	text string
}

// String returns the form that editors recognize.
func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.text) }

// report prints all findings and reports whether there were none.
func report(fsys fs.FS, w io.Writer) (bool, error) {
	findings, files, err := check(fsys)
	if err != nil {
		return false, err
	}
	for _, f := range findings {
		if _, err := fmt.Fprintln(w, f); err != nil {
			return false, err
		}
	}
	_, err = fmt.Fprintf(w, "house rules: %d files, %d findings\n", files, len(findings))
	return len(findings) == 0, err
}

// check returns the findings in all Go and Markdown files, and their number.
func check(fsys fs.FS) (findings []finding, files int, err error) {
	names, err := tree.Files(fsys, func(name string) bool {
		return path.Ext(name) == ".go" || path.Ext(name) == ".md"
	})
	if err != nil {
		return nil, 0, err
	}
	list, err := readCovered(fsys)
	if err != nil {
		return nil, 0, err
	}
	c := checker{covered: list}
	for _, name := range names {
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, 0, fmt.Errorf("read: %w", err)
		}
		if err := c.read(name, content); err != nil {
			return nil, 0, err
		}
	}
	exists := func(name string) bool {
		_, err := fs.Stat(fsys, name)
		return err == nil
	}
	return slices.Concat(
		c.findings, list.unused(names), c.waits.bare(), c.tests.missing(), c.sources.missing(), c.links.broken(exists),
	), len(names), nil
}

// checker has the findings in the files so far, and the names to compare at the end.
type checker struct {
	covered  covered
	findings []finding
	waits    waits
	tests    namedTests
	sources  namedFiles
	links    links
}

// read checks one file.
func (c *checker) read(name string, content []byte) error {
	found, err := checkFile(name, content)
	if err != nil {
		return err
	}
	c.findings = append(c.findings, found...)
	if c.covered.has(name) {
		found, err := checkLanguage(name, content)
		if err != nil {
			return err
		}
		c.findings = append(c.findings, found...)
	}
	if err := c.waits.read(name, content); err != nil {
		return err
	}
	c.tests.read(name, string(content))
	c.sources.read(name, string(content))
	c.links.read(name, string(content))
	return nil
}

// checkFile applies the rules for the kind of file.
func checkFile(name string, content []byte) ([]finding, error) {
	if path.Ext(name) == ".md" {
		return checkMarkdown(name, content), nil
	}
	return checkGo(name, content)
}
