// Package enginetest has the tests that every engine of jobs must pass: each method, and each
// sentence of the contract in [jobs.Engine].
package enginetest

import (
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Open opens the engine of a folder, which is empty at first. It is called again for the same
// folder when the engine before was closed, and for a copy of the folder of an engine that is
// in use: that is how a crash leaves it.
type Open func(t *testing.T, folder string) jobs.Engine

// Folderless is implemented by an engine that keeps its jobs elsewhere than in the folder.
type Folderless interface {
	// Crash ends the engine as the end of its process would.
	Crash()
	// Files returns how many files of bodies and results the engine has.
	Files() int
}

// Run runs all tests. Each has an engine and a folder that no other test uses.
func Run(t *testing.T, open Open) {
	for _, group := range [][]test{records, updates, keys, bodies, results, lists, usages, lives} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				k := newKit(t, open)
				c.run(k)
				k.close()
			})
		}
	}
}

// test is a test of an open engine.
type test struct {
	name string
	run  func(k *kit)
}
