package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// filePattern names temporary files on systems that cannot remove open files.
const filePattern = "offload-*.spool"

// file is a temporary file without a name: it has no name from the start, or is removed
// from its folder as soon as it is open, so that a crash leaves nothing behind. Its space
// is handed out in blocks, which are reused.
type file struct {
	f      *os.File
	named  bool    // the system could not remove it while it was open
	blocks int64   // the file's size
	free   []int64 // unused blocks
}

// create makes the file in dir, for this user only.
func (t *file) create(dir string) error {
	if dir == "" {
		dir = os.TempDir()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the spool folder: %w", err)
	}
	if t.f = openNameless(dir); t.f != nil {
		return nil
	}
	return t.createNamed(dir)
}

// createNamed is create for folders that do not support files without a name.
func (t *file) createNamed(dir string) error {
	f, err := os.CreateTemp(dir, filePattern) // mode 0600, and never an existing file
	if err != nil {
		return fmt.Errorf("making a spool file: %w", err)
	}
	t.f = f
	t.named = os.Remove(f.Name()) != nil
	return nil
}

// lasts reports whether an error is permanent for the folder. Lack of space or of file
// descriptors is not: both become free again, so a later attempt may succeed.
func lasts(err error) bool {
	return !slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EDQUOT},
		func(passes error) bool { return errors.Is(err, passes) })
}

// reuse returns an unused block.
func (t *file) reuse() (int64, bool) {
	n := len(t.free)
	if n == 0 {
		return 0, false
	}
	block := t.free[n-1]
	t.free = t.free[:n-1]
	return block, true
}

// grow returns a new block at the end.
func (t *file) grow() int64 {
	t.blocks++
	return t.blocks - 1
}

func (t *file) release(block int64) { t.free = append(t.free, block) }

func (t *file) close() {
	if t.f == nil {
		return
	}
	name := t.f.Name()
	_ = t.f.Close() // its content is not needed
	if t.named {
		_ = os.Remove(name)
	}
	t.f = nil
}

// Sweep removes files that a crash has left in dir, on a system that cannot remove open
// files. There, files of running processes cannot be removed.
func Sweep(dir string) {
	names, err := filepath.Glob(filepath.Join(dir, filePattern))
	if err != nil {
		return
	}
	for _, name := range names {
		_ = os.Remove(name)
	}
}

// TryFolder tests whether files can be created in dir, or dir itself, and returns the error
// if not. It leaves nothing behind.
func TryFolder(dir string) error {
	if dir == "" {
		dir = os.TempDir()
	}
	_, err := os.Stat(dir)
	if err == nil {
		var f file
		defer f.close()
		return f.create(dir)
	}
	for parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir; parent = filepath.Dir(parent) {
		if _, err = os.Stat(parent); err == nil {
			return tryToMakeFolder(parent)
		}
		dir = parent
	}
	return fmt.Errorf("looking for the spool folder: %w", err)
}

func tryToMakeFolder(parent string) error {
	dir, err := os.MkdirTemp(parent, "offload-*")
	if err != nil {
		return fmt.Errorf("making the spool folder: %w", err)
	}
	if err := os.Remove(dir); err != nil {
		return fmt.Errorf("removing a test folder next to the spool folder: %w", err)
	}
	return nil
}
