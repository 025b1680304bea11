package prefer_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/prefer"
)

func header(fields string) http.Header {
	h := http.Header{}
	for field := range strings.SplitSeq(fields, "\n") {
		h.Add("Prefer", field)
	}
	return h
}

func TestPreferences(t *testing.T) {
	t.Parallel()
	wait := func(async bool, seconds int) prefer.Preferences {
		return prefer.Preferences{Async: async, Wait: time.Duration(seconds) * time.Second, Waits: true}
	}
	async, none := prefer.Preferences{Async: true}, prefer.Preferences{}
	for fields, want := range map[string]prefer.Preferences{
		"":                                none,
		"respond-async":                   async,
		"Respond-Async":                   async,
		" respond-async ; foo=bar":        async,
		"respond-async=1":                 async, // a value has no meaning
		"respond-async, wait=2":           wait(true, 2),
		"wait=2\nrespond-async":           wait(true, 2),
		"wait=0, respond-async":           wait(true, 0),
		"return=minimal,, respond-async,": async,
		`foo="a, respond-async"`:          none,
		`foo="\", respond-async"`:         none,
		`foo="a", wait="7"`:               wait(false, 7),
		"wait=5; x, wait=1":               wait(false, 5),
		"wait, wait=3":                    none,
		"wait=1.5, respond-async":         async,
		"wait=-1":                         none,
		"wait=10s":                        none,
		"respond_async":                   none,
		"not respond-async":               none,
		"wait=99999999999999999999":       {Wait: prefer.Longest, Waits: true},
	} {
		if got := prefer.Of(header(fields)); got != want {
			t.Errorf("%q: got %+v, want %+v", fields, got, want)
		}
	}
	if got := prefer.Of(http.Header{}); got != none {
		t.Errorf("without a field: got %+v", got)
	}
}

// FuzzPreferences reads any text without a panic. A time is never negative or above the
// longest, and a preference in front of the text is always found.
func FuzzPreferences(f *testing.F) {
	for _, text := range []string{"respond-async", "wait=3", `a="b, c", wait=1`, `"`, `\`, ";=,", `a="\`, "wait=;"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := prefer.Of(http.Header{"Prefer": {text}})
		if p.Wait < 0 || p.Wait > prefer.Longest || !p.Waits && p.Wait != 0 {
			t.Errorf("got %+v", p)
		}
		if p := prefer.Of(http.Header{"Prefer": {"respond-async, wait=4," + text}}); !p.Async || p.Wait != 4*time.Second || !p.Waits {
			t.Errorf("got %+v", p)
		}
	})
}
