package answers_test

import (
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Whatever a client accepts, it gets an answer in one of the forms, and only in one that it
// has named. Elements that it does not take change nothing, and the first one comes first.
func FuzzAccept(f *testing.F) {
	for _, accept := range []string{
		ofChromium, ofAxios, ofJQuery, ofImages, ofStreams, `Accept: a/b;c="d, \"e;f", application/json;q=0.5`,
		"Accept: application/json;q=1e-1", "Accept: text/html;q=0x1p-2,", "Accept: ,;,=;q", `Accept: a/b;"`, "Accept: x+json/y+JSON ; q = 0.1",
	} {
		f.Add(strings.TrimPrefix(accept, "Accept: "))
	}
	f.Fuzz(func(t *testing.T, accept string) {
		typeOf := func(accept string) string {
			return say(answerTo(offloader.QueueFull), "GET", "Accept: "+accept).Header.Get("Content-Type")
		}
		got, lower := typeOf(accept), strings.ToLower(accept)
		switch {
		case got == pageType && strings.Contains(lower, "text/html"):
		case got == problemType && strings.Contains(lower, "json"):
		case got == plainType:
		default:
			t.Errorf("got %s", got)
		}
		for _, more := range []string{"application/json;q=0", "text/html;q=0", "application/json;q=1.5"} {
			if with := typeOf(accept + "," + more); with != got {
				t.Errorf("got %s, and %s when %s is added", got, with, more)
			}
		}
		for first, want := range map[string]string{"text/html": pageType, "application/json": problemType, "text/plain": plainType} {
			if with := typeOf(first + "," + accept); with != want {
				t.Errorf("got %s though %s comes first", with, first)
			}
		}
	})
}
