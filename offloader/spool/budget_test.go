package spool_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// read spools n bytes of unknown length.
func read(budget *spool.Budget, n int, bounds spool.Bounds) (*spool.Body, error) {
	return spool.ReadBody(bytes.NewReader(bytesOf(n)), -1, budget, bounds)
}

func mustRead(t *testing.T, budget *spool.Budget, n int, bounds spool.Bounds) *spool.Body {
	t.Helper()
	body, err := read(budget, n, bounds)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func wantFull(t *testing.T, body *spool.Body, err error) {
	t.Helper()
	if !errors.Is(err, spool.ErrFull) || errors.Is(err, spool.ErrTooLarge) || body != nil {
		t.Errorf("error %v, want %v", err, spool.ErrFull)
	}
}

func TestBudgetOfTheProcess(t *testing.T) {
	t.Parallel()
	wide := spool.Bounds{Memory: 10 * block, File: 10 * block}
	t.Run("memory that is spent sends bodies to the file", func(t *testing.T) {
		t.Parallel()
		budget := budgetOf(t, twice(spool.Limits{Memory: 2 * block, Disk: 100 * block, Uploads: 1}))
		first := mustRead(t, budget, 2*block-1, wide)
		defer first.Close()
		second := mustRead(t, budget, 100, wide)
		defer second.Close()
		wantUsage(t, budget, spool.Usage{Memory: 2 * block, Disk: block})
	})
	t.Run("when disk is spent as well it is full, and nothing is kept", func(t *testing.T) {
		t.Parallel()
		budget := budgetOf(t, twice(spool.Limits{Memory: block, Disk: 2 * block, Uploads: 1}))
		first := mustRead(t, budget, block+1, wide)
		defer first.Close()
		used := budget.Usage()
		body, err := read(budget, block+1, wide)
		wantFull(t, body, err)
		wantUsage(t, budget, used)
		mustRead(t, budget, block, wide).Close() // ends just where the room does
	})
	t.Run("what a body gives back can be taken again", func(t *testing.T) {
		t.Parallel()
		budget := budgetOf(t, twice(spool.Limits{Memory: block, Disk: block, Uploads: 1}))
		for range 5 {
			mustRead(t, budget, 2*block-1, wide).Close()
			wantUsage(t, budget, spool.Usage{})
		}
	})
	t.Run("only so many bodies are read at once", func(t *testing.T) {
		t.Parallel()
		budget := budgetOf(t, spool.Limits{Memory: 10 * block, Uploads: 2})
		first, second := budget.BeginUpload(nil), budget.BeginUpload(nil)
		if first == nil || second == nil || budget.BeginUpload(nil) != nil {
			t.Error("not two of three have begun")
		}
		body, err := read(budget, 100, wide)
		wantFull(t, body, err)
		wantUsage(t, budget, spool.Usage{Uploads: 2})
		first.End()
		mustRead(t, budget, 100, wide).Close()
		second.End()
	})
	t.Run("a body that is read counts as an upload until then", func(t *testing.T) {
		t.Parallel()
		budget := budgetOf(t, spool.Limits{Memory: 10 * block, Uploads: 2})
		source := readerFunc(func([]byte) (int, error) {
			wantUsage(t, budget, spool.Usage{Memory: block, Uploads: 1})
			return 0, io.EOF
		})
		body, err := spool.ReadBody(io.MultiReader(strings.NewReader("its start"), source), -1, budget, wide)
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
	})
	t.Run("what is too large as announced is not even read", func(t *testing.T) {
		t.Parallel()
		source := readerFunc(func([]byte) (int, error) {
			t.Error("read")
			return 0, io.EOF
		})
		_, err := spool.ReadBody(source, 20*block+1, budgetOf(t, spool.Limits{}), wide)
		if !errors.Is(err, spool.ErrTooLarge) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("other limits count for what comes, and keep what is there", func(t *testing.T) {
		t.Parallel()
		budget := budgetOf(t, spool.Limits{Memory: 10 * block, Disk: 10 * block, Uploads: 1})
		kept := mustRead(t, budget, 3*block, wide)
		limits := budget.Limits()
		limits.Memory, limits.Disk = 2*block, 2*block
		budget.Configure(limits)
		if got := budget.Limits(); got != limits {
			t.Errorf("limits are %+v", got)
		}
		body, err := read(budget, block+1, wide)
		wantFull(t, body, err)
		if got, err := io.ReadAll(kept.Open()); err != nil || len(got) != 3*block {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		kept.Close()
		mustRead(t, budget, block+1, wide).Close()
	})
}

// readerFunc is a source made of a function.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Writers that wait for room are woken by every change that may have made some.
func TestBudgetTellsWhenSomethingComesBack(t *testing.T) {
	t.Parallel()
	freed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	wide := spool.Bounds{Memory: block, File: 10 * block}
	for name, test := range map[string]struct {
		size int
		then func(budget *spool.Budget, body *spool.Body)
		want bool
	}{
		"memory":     {100, func(_ *spool.Budget, b *spool.Body) { b.Close() }, true},
		"a file":     {block + 100, func(_ *spool.Budget, b *spool.Body) { b.Close() }, true},
		"limits":     {100, func(b *spool.Budget, _ *spool.Body) { b.Configure(b.Limits()) }, true},
		"an upload":  {100, func(b *spool.Budget, _ *spool.Body) { b.BeginUpload(nil).End() }, false},
		"by reading": {100, func(_ *spool.Budget, b *spool.Body) { io.ReadAll(b.Open()) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			budget := roomy(t)
			body := mustRead(t, budget, test.size, wide)
			defer body.Close()
			first, second := budget.Freed(), budget.Freed()
			if freed(first) {
				t.Error("told before")
			}
			test.then(budget, body)
			if freed(first) != test.want || freed(second) != test.want {
				t.Errorf("told: %t, %t", freed(first), freed(second))
			}
			if freed(budget.Freed()) {
				t.Error("told of what was before")
			}
		})
	}
}

// A folder that cannot be used leaves memory: bodies stay there as far as their own
// bounds and the budget allow.
func TestFoldersThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{
		"a file":                 file,
		"a folder below a file":  filepath.Join(file, "folder"),
		"nothing that can exist": "/proc/nothing",
		"no place for files":     "/proc",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := spool.TryFolder(dir); err == nil {
				t.Error("it is said to be of use")
			}
			bounds := spool.Bounds{Memory: block, File: 2 * block}
			budget := spool.NewBudget(twice(spool.Limits{Dir: dir, Memory: 5 * block, Disk: 1 << 20, Uploads: 1}))
			kept := mustRead(t, budget, 3*block, bounds)
			wantUsage(t, budget, spool.Usage{Memory: 3 * block})
			if _, disk := errors.AsType[*fs.PathError](kept.Broken()); !disk {
				t.Errorf("the body says %v", kept.Broken())
			}
			if got, err := io.ReadAll(kept.Open()); err != nil || !bytes.Equal(got, bytesOf(3*block)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if body, err := read(budget, 2*block+1, bounds); body != nil || !errors.Is(err, spool.ErrFull) {
				t.Errorf("a body that has no room: %v", err)
			} else if _, disk := errors.AsType[*fs.PathError](err); !disk {
				t.Errorf("nothing names the folder: %v", err)
			}
			kept.Close()
			if _, err := read(budget, 3*block+1, bounds); !errors.Is(err, spool.ErrTooLarge) {
				t.Errorf("a body beyond its bounds: %v", err)
			}
			wantUsage(t, budget, spool.Usage{})
		})
	}
}

// To look whether a folder can be used leaves nothing behind, be it there or not.
func TestTryFolder(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	for _, dir := range []string{parent, filepath.Join(parent, "not", "yet"), ""} {
		if err := spool.TryFolder(dir); err != nil {
			t.Errorf("%q: %v", dir, err)
		}
	}
	wantEmpty(t, parent)
}

// A full disk rejects a body, and nothing is left of it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	testkit.WithFileLimit(t, 2*block+100, func(t *testing.T) {
		budget, bounds := roomy(t), spool.Bounds{Memory: block, File: 10 * block}
		body, err := read(budget, 4*block, bounds)
		wantFull(t, body, err)
		wantUsage(t, budget, spool.Usage{})
		mustRead(t, budget, 3*block, bounds).Close()
	})
}

func TestDefaultLimits(t *testing.T) {
	t.Parallel()
	if got, want := spool.DefaultLimits(), (spool.Limits{Memory: 256 << 20, Disk: 8 << 30, Uploads: 1000, MinRate: 500}); got != want {
		t.Errorf("limits are %+v", got)
	}
}
