package caddymodule_test

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

var requestID = regexp.MustCompile(`^[0-9a-v]{13}$`)

// Each response of offload has the id that the access log and the placeholder have, and
// no other response has one.
func TestRequestIDs(t *testing.T) {
	hang := make(chan struct{})
	behind := site.HandleBehind(t, func(http.ResponseWriter, *http.Request) error {
		<-hang // whatever becomes of its request
		return nil
	})
	s := site.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			<-r.Context().Done()
			return
		}
		blocking(w, r)
	}), `
	header {
		X-Placeholder {http.offload.id}
		defer
	}
	handle /stuck {
		offload {
			name stuck
			first_byte_timeout 50ms
			abandon_timeout 200ms
		}
		`+behind+`
	}
	handle /late {
		offload {
			name late
			first_byte_timeout 50ms
			abandon_timeout 200ms
		}
		reverse_proxy UPSTREAM
	}
	handle {
		offload {
			name ids
			concurrency 1
			queue 0
		}
		reverse_proxy UPSTREAM
	}`)
	c := s.Clients()["h1"] // on which an answer for a stuck run has its end at once
	seen := map[string]bool{}
	want := func(path string, status int, ours, placeholder bool) {
		t.Helper()
		res, _ := site.Get(t, c, "https://"+s.Addr+path)
		id := res.Header.Get("Offload-Request-Id")
		if res.StatusCode != status || ours != requestID.MatchString(id) || seen[id] {
			t.Errorf("%s: got %d, %v", path, res.StatusCode, res.Header)
		}
		if got := res.Header.Get("X-Placeholder"); placeholder && (!requestID.MatchString(got) || (ours && got != id)) {
			t.Errorf("%s: the placeholder is '%s', the id '%s'", path, got, id)
		}
		seen[id] = ours
	}
	want("/", 200, false, true)
	holdOne(t, s, c, "/hold")
	want("/", 503, true, true)
	want("/late", 504, true, true)
	want("/stuck", 504, true, false) // passes outer handlers by
	close(hang)
	for _, line := range s.AccessLog(4) {
		fields, _ := line["offload"].(map[string]any)
		id, _ := fields["id"].(string)
		if header, _ := line["resp_headers"].(map[string]any); !requestID.MatchString(id) || (header["X-Placeholder"] != nil && header["X-Placeholder"].([]any)[0] != id) {
			t.Errorf("logged %v", line)
		}
		delete(seen, id)
	}
	delete(seen, "") // of the answer that is not ours
	if len(seen) > 0 {
		t.Errorf("not logged: %v", seen)
	}
}
