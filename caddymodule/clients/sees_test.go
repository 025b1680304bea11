//go:build integration

package clients

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// upload is far more than the buffers between a client and the proxy hold.
const upload = 8_000_000

// Every client sees a rejection with its status, reason, id and time to come back, in the
// form that it asks for, also in the middle of an upload, on all versions of HTTP that it
// speaks.
func TestClientsSeeTheRejection(t *testing.T) {
	full := situations[0]
	pools, sites := routes(names())
	p := startProxy(t, pools, sites)
	var one sync.Mutex
	for _, k := range here() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			c := k.open(t)
			full.arrange(p, t, full.poolOf(k.name))
			ask := func(t *testing.T, what call, secure bool) seen {
				t.Parallel()
				what.ID = k.name + "-" + strings.ReplaceAll(t.Name()[strings.LastIndex(t.Name(), "/")+1:], "_", "-")
				what.Method, what.URL = http.MethodPost, p.origin(secure)+full.path(k, what.ID)
				if what.Bytes < upload {
					return c.call(t, what)
				}
				one.Lock() // one at a time: the rest of an upload is read for a limited time
				defer one.Unlock()
				return patiently(t, c, what)
			}
			if k.grpc {
				t.Run("message", func(t *testing.T) { wantStatus(t, ask(t, call{Bytes: 7}, false), full) })
				t.Run("upload", func(t *testing.T) { wantStatus(t, ask(t, call{Bytes: upload}, false), full) })
				return
			}
			t.Run("plain", func(t *testing.T) {
				wantRejection(t, k, ask(t, call{Bytes: 7}, false), "text/plain")
			})
			t.Run("JSON", func(t *testing.T) {
				asJSON := call{Bytes: 7, Fields: map[string]string{"Accept": "application/json"}}
				wantRejection(t, k, ask(t, asJSON, false), "application/problem+json")
			})
			t.Run("upload", func(t *testing.T) {
				wantRejection(t, k, ask(t, call{Bytes: upload}, false), "text/plain")
			})
			if k.http2 {
				t.Run("upload over HTTP2", func(t *testing.T) {
					wantRejection(t, k, ask(t, call{Bytes: upload}, true), "text/plain")
				})
			}
		})
	}
}

// patiently makes a call again if its client lost the answer, as it may on a busy machine: an
// upload that takes seconds is not read to its end.
func patiently(t *testing.T, c caller, what call) (got seen) {
	t.Helper()
	for range 3 {
		if got = c.call(t, what); got.Status != 0 {
			break
		}
	}
	return got
}

// names are those of the clients that take part.
func names() []string {
	var list []string
	for _, k := range here() {
		list = append(list, k.name)
	}
	return list
}

// wantRejection checks an answer with a kind of body.
func wantRejection(t *testing.T, k kind, got seen, body string) {
	t.Helper()
	if k.givesUp != "" && strings.Contains(got.Error, k.givesUp) {
		return
	}
	if got.Status != http.StatusServiceUnavailable {
		t.Fatalf("it sees %d, %s %s", got.Status, got.Error, got.Detail)
	}
	if !strings.HasPrefix(got.Fields["content-type"], body) {
		t.Errorf("the body is %s, want %s", got.Fields["content-type"], body)
	}
	seconds, _ := strconv.Atoi(got.Fields["retry-after"])
	exact, _ := strconv.Atoi(got.Fields["retry-after-ms"])
	if seconds < 1 || exact < 1 {
		t.Errorf("to come back: %q s, %q ms", got.Fields["retry-after"], got.Fields["retry-after-ms"])
	}
	if !strings.Contains(got.Fields["proxy-status"], `details="queue_full"`) {
		t.Errorf("Proxy-Status: %s", got.Fields["proxy-status"])
	}
	id := got.Fields["offload-request-id"]
	if id == "" {
		t.Error("there is no id")
	}
	if k.noBody {
		return
	}
	if body != "application/problem+json" {
		if want := "Service Unavailable\n"; got.Body != want {
			t.Errorf("the body is %q, want %q", got.Body, want)
		}
		return
	}
	var problem struct {
		Status int    `json:"status"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal([]byte(got.Body), &problem); err != nil {
		t.Errorf("%v: %s", err, got.Body)
	}
	if problem.Status != got.Status || problem.Reason != "queue_full" || !strings.Contains(got.Body, id) {
		t.Errorf("of the request %s it says %s", id, got.Body)
	}
}

// wantStatus checks an answer of gRPC.
func wantStatus(t *testing.T, got seen, want situation) {
	t.Helper()
	if got.Status != want.code || got.Fields["offload-request-id"] == "" || !strings.Contains(got.Fields["proxy-status"], `details="`+want.reason+`"`) {
		t.Errorf("it sees %+v, want %d, %s", got, want.code, want.reason)
	}
}
