//go:build unix

package lab

import (
	"fmt"
	"os"
	"sync"
)

// Owner owns a server: the server ends with it, and fails it if the server does
// not start. A test is an owner, and so are all tests of a package together.
type Owner interface {
	Helper()
	Cleanup(func())
	TempDir() string
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Package owns the servers that all tests of a package use. Its zero value is
// ready.
type Package struct {
	mu   sync.Mutex
	ends []func() // guarded by mu
}

// Helper implements [Owner].
func (*Package) Helper() {}

// Cleanup implements [Owner].
func (p *Package) Cleanup(end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = append(p.ends, end)
}

// TempDir implements [Owner].
func (p *Package) TempDir() string {
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = os.RemoveAll(dir) }) // remaining files do no harm
	return dir
}

// Fatal implements [Owner]. It fails the test that is running.
func (*Package) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Fatalf implements [Owner].
func (p *Package) Fatalf(format string, args ...any) { p.Fatal(fmt.Sprintf(format, args...)) }

// End ends the servers of the package, the newest first. Call it after the last
// test.
func (p *Package) End() {
	p.mu.Lock()
	ends := p.ends
	p.ends = nil
	p.mu.Unlock()
	for i := range ends {
		ends[len(ends)-1-i]()
	}
}
