package spool_test

import (
	"os"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const block = spool.BlockSize

// bytesOf returns n bytes, none of them zero, in an order that shows if some
// are lost or come twice.
func bytesOf(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i%251 + 1)
	}
	return p
}

// roomy is a budget that nothing in these tests can use up.
func roomy(t *testing.T) *spool.Budget {
	t.Helper()
	return budgetOf(t, spool.Limits{Memory: 1 << 30, Disk: 1 << 30, Uploads: 100})
}

// twice doubles limits that bodies and streams share.
func twice(l spool.Limits) spool.Limits {
	l.Memory *= 2
	l.Disk *= 2
	return l
}

// budgetOf returns a budget with its own folder. At the end all must have
// been given back, and the folder must be empty.
func budgetOf(t *testing.T, l spool.Limits) *spool.Budget {
	t.Helper()
	if l.Dir == "" {
		l.Dir = t.TempDir()
	}
	b := spool.NewBudget(l)
	t.Cleanup(func() {
		wantUsage(t, b, spool.Usage{})
		wantEmpty(t, l.Dir)
	})
	return b
}

func wantUsage(t *testing.T, b *spool.Budget, want spool.Usage) {
	t.Helper()
	if got := b.Usage(); got != want {
		t.Errorf("%+v is used, want %+v", got, want)
	}
}

// wantEmpty checks that no file has a name in the folder.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left in the folder", e.Name())
	}
}
