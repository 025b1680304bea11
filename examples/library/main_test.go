package main

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

// want is the output, but for the totals of rejections, which have some jitter.
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

// The README shows the output.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.ReplaceAll(string(readme), "\n    ", "\n")
	if !strings.Contains(shown, want) {
		t.Errorf("the README does not show\n%s", want)
	}
}

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
