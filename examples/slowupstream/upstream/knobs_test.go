package upstream

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestKnobs(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]knobs{
		"": {chunks: 1, size: 1024, status: http.StatusOK},
		"delay=200ms&pause=5ms&chunks=4&size=0&status=503": {
			delay: 200 * time.Millisecond, pause: 5 * time.Millisecond, chunks: 4, status: 503,
		},
		"hang=head":              {chunks: 1, size: 1024, status: 200, fault: hang, place: atHead},
		"cut=body&trailers=true": {chunks: 1, size: 1024, status: 200, fault: cut, place: atBody, trailers: true},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseKnobs(values); err != nil || got != want {
			t.Errorf("%s: %+v, %v", query, got, err)
		}
	}
}

func TestWrongKnobsAreRefused(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"delay=soon":         "must be a duration",
		"pause=-1s":          "must be a duration",
		"chunks=0":           "must be a number from 1",
		"size=-1":            "must be a number from 0",
		"status=99":          "must be a number from 200",
		"hang=yes":           "want head or body",
		"cut=head&hang=body": "one fault only",
		"trailers=perhaps":   "invalid syntax",
		"dellay=1s":          "unknown",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseKnobs(values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
}

func FuzzKnobs(f *testing.F) {
	f.Add("delay=200ms&chunks=3")
	f.Add("hang=head&hang=body&;=")
	f.Fuzz(func(t *testing.T, query string) {
		values, _ := url.ParseQuery(query)
		k, err := parseKnobs(values)
		if err == nil && (k.chunks < 1 || k.size < 0 || k.size > maxSize || k.delay < 0 || k.pause < 0) {
			t.Errorf("%q gave %+v", query, k)
		}
	})
}
