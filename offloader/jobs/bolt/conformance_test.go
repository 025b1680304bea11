package bolt_test

import (
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/enginetest"
)

func open(t testing.TB, folder string, o bolt.Options) *bolt.Engine {
	t.Helper()
	o.MinFree = -1
	e, err := bolt.Open(folder, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func testKeys() []bolt.Key { return []bolt.Key{{ID: "first", Secret: [32]byte{1}}} }

func TestConformance(t *testing.T) {
	for name, o := range map[string]bolt.Options{"plain": {}, "encrypted": {Keys: testKeys()}} {
		t.Run(name, func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T, folder string) jobs.Engine { return open(t, folder, o) })
		})
	}
}
