//go:build unix

package bolt_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

// A file that cannot grow is what a full disk is to the engine.
func TestFullDiskLosesNothing(t *testing.T) {
	testkit.WithFileLimit(t, 17<<20, func(t *testing.T) {
		folder := t.TempDir()
		e := open(t, folder, bolt.Options{})
		var all []*jobs.Record
		var err error
		for range 3000 {
			r := newRecord()
			r.BodySize = jobs.InlineBytes
			if _, err = e.Accept(t.Context(), r, jobs.Body{Inline: make([]byte, jobs.InlineBytes)}); err != nil {
				break
			}
			all = append(all, r)
		}
		if !errors.Is(err, jobs.ErrFull) {
			t.Fatalf("after %d jobs: %v", len(all), err)
		}
		updated := 0
		for _, r := range all {
			r.Attempt = 1
			if err := e.Update(t.Context(), r, nil); err == nil {
				updated++
			} else if r.Attempt = 0; !errors.Is(err, jobs.ErrFull) {
				t.Fatal(err)
			}
		}
		if updated == 0 {
			t.Error("no job that is stored can go on")
		}
		if !strings.Contains(err.Error(), "large") {
			t.Errorf("the error %v does not say why", err)
		}
		crashed := image(t, folder)
		for _, r := range all {
			readable(t, e, r)
		}
		must(t, e.Close())
		again := open(t, crashed, bolt.Options{})
		for _, r := range all {
			readable(t, again, r)
		}
		must(t, again.Close())
		sound(t, crashed)
	})
}
