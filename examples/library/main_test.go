package main

import (
	"strings"
	"testing"
	"testing/synctest"
)

// The output that the README shows.
const want = `60 documents arrive at once:
  60 converted, 4 at once at most
50 documents are damaged, which is no fault of the machine:
  the document is damaged; the breaker is closed
the machine breaks:
  the breaker goes from closed to open
  now without the machine: pool 'converter' rejected: breaker_open (the breaker is open)
the machine is repaired:
  the breaker goes from open to half_open
  the breaker goes from half_open to closed
  81 converted
the program ends:
  one more document: pool 'converter' rejected: draining (the pool is draining)
  81 runs succeeded, 60 failed, 50 say nothing of the machine
  rejections by reason: map[`

func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		if err := run(t.Context(), &out, 60); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.HasPrefix(got, want) {
			t.Errorf("the output is\n%s\nwant\n%s", got, want)
		}
	})
}
