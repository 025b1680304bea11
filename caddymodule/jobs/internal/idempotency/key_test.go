package idempotency_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/idempotency"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"a": "a", " a b ": "a b", `"a"`: "a", `"a\"b"`: `a"b`, `"a"; x=1`: "a", "a;b": "a;b", strings.Repeat("x", 255): strings.Repeat("x", 255),
		"": "", `""`: "", `"open`: "", `"a" b`: "", "a\tb": "", "ä": "", strings.Repeat("x", 256): "",
	} {
		got, err := idempotency.Of(http.Header{"Idempotency-Key": {value}})
		if got != want || (want == "") != errors.Is(err, idempotency.ErrBad) {
			t.Errorf("%q: got %q, %v", value, got, err)
		}
	}
	if _, err := idempotency.Of(http.Header{}); !errors.Is(err, idempotency.ErrMissing) {
		t.Errorf("none: %v", err)
	}
	if _, err := idempotency.Of(http.Header{"Idempotency-Key": {"a", "a"}}); !errors.Is(err, idempotency.ErrBad) {
		t.Errorf("two: %v", err)
	}
}

// Each part of the scope and of the request changes the hash, also where the texts together
// are the same.
func TestHashes(t *testing.T) {
	t.Parallel()
	scope := idempotency.Scope{Tenant: "ann", Route: "api"}
	hashes := map[[32]byte]bool{scope.Hash("a"): true}
	for _, other := range []idempotency.Scope{{Tenant: "anna", Route: "pi"}, {Tenant: "ann", Route: "ap"}, {Tenant: "ann", Route: "api", Owner: [32]byte{1}}} {
		hashes[other.Hash("a")] = true
	}
	hashes[scope.Hash("b")] = true
	for _, line := range []string{"POST /a?b", "PUT /a?b", "POST /a%3Fb", "POST /a?c", "POST /a"} {
		method, target, _ := strings.Cut(line, " ")
		hashes[idempotency.Fingerprint(httptest.NewRequestWithContext(t.Context(), method, target, nil), [32]byte{})] = true
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/a?b", nil)
	hashes[idempotency.Fingerprint(r, [32]byte{1})] = true
	if len(hashes) != 11 {
		t.Errorf("%d hashes of 11", len(hashes))
	}
}

// FuzzKeys reads any value without a panic. A key is printable and not too long.
func FuzzKeys(f *testing.F) {
	for _, value := range []string{"a", `"a"`, `"\"`, `";`, "\x00", `"a";b="c"`} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, err := idempotency.Of(http.Header{"Idempotency-Key": {value}})
		if err == nil && (key == "" || len(key) > idempotency.MaxLength || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' })) {
			t.Errorf("%q: %q", value, key)
		}
	})
}
