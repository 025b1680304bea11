package suggest

import (
	"fmt"
	"strings"
	"testing"
)

func TestNamesThatAreClose(t *testing.T) {
	t.Parallel()
	names := []string{"reports", "exports", "example.com /render/*"}
	for wrong, want := range map[string]string{
		"report": "reports", "REPORTS": "reports", "expotrs": "exports", "render": "example.com /render/*",
		"xyz": "", "": "", "completely different": "",
	} {
		got := DidYouMean("; ", wrong, names)
		if (want == "" && got != "") || (want != "" && got != "; did you mean '"+want+"'?") {
			t.Errorf("%s: got %q, want %s", wrong, got, want)
		}
	}
}

func TestKnownPoolsAreSortedAndBounded(t *testing.T) {
	t.Parallel()
	if got, want := KnownPools([]string{"b", "a"}), "; known pools: 'a', 'b'"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := KnownPools(nil), ""; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var many []string
	for i := range maxKnown + 1 {
		many = append(many, fmt.Sprintf("pool%02d", i))
	}
	if got := KnownPools(many); !strings.HasSuffix(got, "'pool19', ...") {
		t.Errorf("got %q", got)
	}
}
