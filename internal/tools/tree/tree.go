// Package tree lists the files of a checkout for the tools that check them. It
// leaves out files that are not written by hand: hidden folders, builds and
// test data.
package tree

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// skipped are folders that hold no hand-written sources.
var skipped = []string{"bin", "dist", "node_modules", "testdata", "vendor"}

// Files returns the slash-separated paths of all files that match, in lexical
// order. A nil match takes all.
func Files(fsys fs.FS, match func(path string) bool) ([]string, error) {
	var files []string
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && leftOut(name):
			return fs.SkipDir
		case entry.Type().IsRegular() && (match == nil || match(name)):
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	return files, nil
}

// leftOut reports whether a folder is skipped.
func leftOut(name string) bool {
	base := path.Base(name)
	return name != "." && strings.HasPrefix(base, ".") || slices.Contains(skipped, base)
}
