package tree

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
)

func TestFilesLeavesOutWhatIsNotWrittenByHand(t *testing.T) {
	t.Parallel()
	fsys := fstest.MapFS{
		"README.md":            {},
		"a/main.go":            {},
		"a/testdata/broken.go": {},
		"bin/tool.go":          {},
		"cmd/bin/x.go":         {},
		".git/hook.go":         {},
		".hidden.go":           {},
		"b.go":                 {},
		"link.go":              {Mode: fs.ModeSymlink},
	}
	got, err := Files(fsys, func(name string) bool { return path.Ext(name) == ".go" })
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{".hidden.go", "a/main.go", "b.go"}; !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
}

func TestFilesWithoutMatchTakesAll(t *testing.T) {
	t.Parallel()
	got, err := Files(fstest.MapFS{"a": {}, "b/c": {}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b/c"}; !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
}

func TestFilesReportsAnUnreadableTree(t *testing.T) {
	t.Parallel()
	_, err := Files(os.DirFS(filepath.Join(t.TempDir(), "gone")), nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}
