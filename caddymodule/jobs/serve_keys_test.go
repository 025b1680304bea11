package jobs_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// A request with a key runs once, however often it comes.
func TestOneRunForAKey(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route(long)))
	res, body := c.post("/slow", "respond-async, wait=0", "Idempotency-Key", `"a"`)
	id := job(t, res, body)
	if res, body := c.post("/slow", "respond-async, wait=0", "Idempotency-Key", "a"); job(t, res, body) != id || res.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("another job: %v", res.Header)
	}
	u.gate <- struct{}{}
	if view := ended(t, id); view.State != jobs.Succeeded {
		t.Fatal(view.State)
	}
	res, body = c.post("/slow", "wait=30", "Idempotency-Key", "a")
	if res.StatusCode != 200 || body != "answer 1 to body" || res.Header.Get("Idempotency-Replayed") != "true" || res.Header.Get("X-Run") != "1" ||
		res.Header.Get("Set-Cookie") != "" || res.Header.Get("Content-Length") != "16" {
		t.Errorf("got %s %v %s", res.Status, res.Header, body)
	}
	if got := u.request(0).Header.Get("Idempotency-Key"); u.runs() != 1 || got != `"a"` {
		t.Errorf("%d runs, with the key %s", u.runs(), got)
	}
	res, body = c.send(http.MethodPost, "/slow", "another", "Idempotency-Key", "a")
	isProblem(t, res, body, 422, "idempotency_key_reused")
}

// The first request with a key is answered inline if it ends within its wait, and is stored
// in any case.
func TestAKeyInTime(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route(long)))
	for n := range 2 {
		res, body := c.send(http.MethodPost, "/", "body", "Idempotency-Key", "b")
		if res.StatusCode != 200 || body != "answer 1 to body" || (res.Header.Get("Idempotency-Replayed") == "true") != (n == 1) {
			t.Errorf("request %d: got %s %v %s", n, res.Status, res.Header, body)
		}
	}
}

// Another user has other keys.
func TestKeysOfOtherUsers(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route(long)))
	for n, user := range []string{"ann", "bob"} {
		res, body := c.send(http.MethodPost, "/", "body", "Idempotency-Key", "c", "Authorization", user)
		if res.StatusCode != 200 || res.Header.Get("Idempotency-Replayed") != "" || u.runs() != n+1 {
			t.Errorf("%s: got %s %v %s", user, res.Status, res.Header, body)
		}
	}
}

func TestStrictKeys(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route(long, "idempotency strict")))
	res, body := c.post("/slow", "respond-async")
	isProblem(t, res, body, 400, "idempotency_key_missing")
	res, body = c.post("/slow", "respond-async, wait=0", "Idempotency-Key", "d")
	id := job(t, res, body)
	res, body = c.post("/slow", "respond-async, wait=0", "Idempotency-Key", "d")
	isProblem(t, res, body, 409, "idempotency_key_in_use")
	if res.Header.Get("Location") != "/.jobs/"+id.String() || res.Header.Get("Retry-After") == "" {
		t.Errorf("got %v", res.Header)
	}
	u.gate <- struct{}{}
	ended(t, id)
	if res, body := c.post("/slow", "wait=5", "Idempotency-Key", "d"); res.StatusCode != 200 || u.runs() != 1 {
		t.Errorf("got %s %s", res.Status, body)
	}
}

func TestKeysThatAreOff(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route(long, "idempotency off")))
	for range 2 {
		if res, body := c.send(http.MethodPost, "/", "body", "Idempotency-Key", "e"); res.StatusCode != 200 {
			t.Errorf("got %s %s", res.Status, body)
		}
	}
	if u.runs() != 2 {
		t.Errorf("%d runs", u.runs())
	}
}

// All rejections are problem documents, and nothing is accepted.
func TestRejections(t *testing.T) {
	u := newUpstream()
	s := site.ServeGlobal(t, u, "offload {\n\tjobs {\n\t\tqueue 2\n\t\ttenant {\n\t\t\tqueue 1\n\t\t}\n\t}\n}",
		route(long, "max_body 100", "idempotency required", "tenant {http.request.header.X-Tenant}"))
	c := clientOf(t, s)
	for _, tt := range []struct {
		body, reason string
		status       int
		fields       []string
	}{
		{"", "idempotency_key_missing", 400, nil},
		{"", "idempotency_key_bad", 400, []string{"Idempotency-Key", strings.Repeat("x", 256)}},
		{"", "idempotency_key_bad", 400, []string{"Idempotency-Key", `"open`}},
		{"", "idempotency_key_bad", 400, []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}},
		{strings.Repeat("x", 101), "body_too_large", 413, []string{"Idempotency-Key", "a"}},
	} {
		res, body := c.send(http.MethodPost, "/", tt.body, append(tt.fields, "Prefer", "respond-async")...)
		isProblem(t, res, body, tt.status, tt.reason)
	}
	if u.runs() != 0 {
		t.Errorf("%d runs", u.runs())
	}
	submit := func(key, tenant string) (*http.Response, string) {
		return c.send(http.MethodPost, "/slow", "", "Prefer", "respond-async, wait=0", "Idempotency-Key", key, "X-Tenant", tenant)
	}
	for _, key := range []string{"1", "2", "3", "4"} { // they take all permits
		res, body := submit(key, key)
		job(t, res, body)
		testkit.Eventually(t, func() bool { return u.runs() >= int(key[0]-'0') })
	}
	waits := 0
	testkit.Eventually(t, func() bool {
		waits++
		res, body := submit("first "+strings.Repeat("x", waits), "ann")
		if res.StatusCode == http.StatusTooManyRequests {
			isProblem(t, res, body, 429, "tenant_limit")
			if !strings.Contains(body, "You have too many jobs that wait.") {
				t.Error(body)
			}
		}
		return res.StatusCode == http.StatusTooManyRequests
	})
	testkit.Eventually(t, func() bool {
		waits++
		res, body := submit("more "+strings.Repeat("x", waits), strings.Repeat("x", waits))
		if res.StatusCode == http.StatusServiceUnavailable {
			isProblem(t, res, body, 503, "queue_full")
		}
		return res.StatusCode == http.StatusServiceUnavailable
	})
	close(u.gate)
}
