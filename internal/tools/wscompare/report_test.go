package main

import (
	"maps"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

const report = `{"127.0.0.1:1": {
	"1.1.1": {"behavior": "OK", "behaviorClose": "OK", "duration": 3},
	"2.10": {"behavior": "NON-STRICT", "behaviorClose": "INFORMATIONAL"},
	"6.2.1": {"behavior": "FAILED", "behaviorClose": "WRONG CODE"},
	"7.1.6": {"behavior": "OK", "behaviorClose": "UNCLEAN"},
	"7.1.7": {"behavior": "OK"}
}}`

func TestReportsAreReadByCase(t *testing.T) {
	t.Parallel()
	r, err := parse([]byte(report))
	want := conformance.Result{"1.1.1": "", "2.10": "", "6.2.1": "failed, wrong code", "7.1.6": "unclean", "7.1.7": "nothing"}
	if err != nil || !maps.Equal(r, want) {
		t.Errorf("got %v, %v, want %v", r, err, want)
	}
}

func TestReportsWithoutCasesAreErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "no JSON", "{}", `{"127.0.0.1:1": {}}`} {
		if _, err := parse([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
