//go:build unix

package spool

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// spooled returns a body with bytes in a file, in a folder that is made for it.
func spooled(t *testing.T) (body *Body, want []byte, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "a", "b")
	want = bytes.Repeat([]byte("offload"), BlockSize)
	budget := NewBudget(Limits{Dir: dir, Disk: 1 << 20, Uploads: 1})
	body, err := ReadBody(bytes.NewReader(want), -1, budget, Bounds{File: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(body.Close)
	return body, want, dir
}

func TestSpoolFiles(t *testing.T) {
	t.Parallel()
	t.Run("are for nobody else, in a folder for nobody else", func(t *testing.T) {
		t.Parallel()
		body, _, dir := spooled(t)
		file, err := body.store.file.f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		folder, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if file.Mode().Perm() != 0o600 || folder.Mode().Perm() != 0o700 {
			t.Errorf("modes are %v and %v", file.Mode(), folder.Mode())
		}
	})
	t.Run("have no name while they are open", func(t *testing.T) {
		t.Parallel()
		_, _, dir := spooled(t)
		if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
			t.Errorf("%v, %v", names, err)
		}
	})
	t.Run("are closed with their body", func(t *testing.T) {
		t.Parallel()
		body, _, _ := spooled(t)
		f := body.store.file.f
		body.Close()
		if _, err := f.Stat(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("lose their name at once where all files have one", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		var f file
		if err := f.createNamed(dir); err != nil {
			t.Fatal(err)
		}
		defer f.close()
		info, err := f.f.Stat()
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
			t.Errorf("%v, %v", names, err)
		}
	})
	t.Run("are removed at the end where open files cannot be", func(t *testing.T) {
		t.Parallel()
		var f file
		if err := f.createNamed(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		name := f.f.Name()
		if err := os.WriteFile(name, nil, 0o600); err != nil { // as if it had not been removed
			t.Fatal(err)
		}
		f.named = true
		f.close()
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("that lost bytes are no end of a body", func(t *testing.T) {
		t.Parallel()
		body, want, _ := spooled(t)
		if err := body.store.file.f.Truncate(int64(len(want)) - 10); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body.Open())
		if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || !bytes.Equal(got, want[:len(got)]) {
			t.Errorf("%d bytes of %d, error %v", len(got), len(want), err)
		}
	})
	t.Run("that cannot be read fail their readers", func(t *testing.T) {
		t.Parallel()
		body, _, _ := spooled(t)
		body.store.file.f.Close()
		if n, err := body.Open().Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrClosed) {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// Not parallel, since it sets a variable of the environment.
func TestSpoolFilesGoWhereTemporaryFilesGoIfNoFolderIsSet(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var f file
	if err := f.create(""); err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if got := f.f.Name(); got != dir && filepath.Dir(got) != dir { // the folder's, if it has none
		t.Errorf("in %s", got)
	}
}

func TestSweepRemovesWhatACrashLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"offload-1.spool", "offload-2.spool", "other", "offload-3.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	Sweep(dir)
	Sweep(filepath.Join(dir, "nothing"))
	Sweep("[") // no pattern
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 2 || filepath.Base(names[0]) != "offload-3.txt" || filepath.Base(names[1]) != "other" {
		t.Errorf("left: %v, %v", names, err)
	}
}
