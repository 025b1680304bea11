package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// coveredList is the file with the names of the files and folders that the language
// rules hold for.
const coveredList = "internal/tools/houserules/covered.txt"

// covered holds the entries of coveredList: a path, a pattern of path.Match, or a folder
// with a slash at its end for all files below it.
type covered []string

// readCovered reads the list. Empty lines and lines that begin with # are comments. A
// tree without the list has no covered files.
func readCovered(fsys fs.FS) (covered, error) {
	content, err := fs.ReadFile(fsys, coveredList)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	var list covered
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list, nil
}

// has reports whether the language rules hold for a file.
func (c covered) has(name string) bool {
	return !historical(name) && slices.ContainsFunc(c, func(entry string) bool { return covers(entry, name) })
}

// unused returns a finding for each entry that matches none of the files.
func (c covered) unused(names []string) []finding {
	var findings []finding
	for _, entry := range c {
		if !slices.ContainsFunc(names, func(name string) bool { return covers(entry, name) }) {
			findings = append(findings, finding{coveredList, 1, "no such file: " + entry})
		}
	}
	return findings
}

// covers reports whether an entry matches a file. A malformed pattern matches no file,
// which unused reports.
func covers(entry, name string) bool {
	if strings.HasSuffix(entry, "/") {
		return strings.HasPrefix(name, entry)
	}
	matched, err := path.Match(entry, name)
	return matched && err == nil
}
