package jobs_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// A response that begins in time goes to the client as it is, and nothing is stored.
func TestAResponseInTimeIsNoJob(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route(long)))
	res, body := c.post("/", "respond-async, wait=20")
	if res.StatusCode != 200 || body != "answer 1 to body" || res.Header.Get("Set-Cookie") != "a=b" ||
		res.Header.Get("Preference-Applied") != "respond-async, wait=20" || res.Header.Get("Vary") != "Prefer" {
		t.Errorf("got %s %v %s", res.Status, res.Header, body)
	}
	if page, err := service(t).List(t.Context(), jobs.Query{Limit: 10}); err != nil || len(page.Views) != 0 {
		t.Errorf("%d jobs, %v", len(page.Views), err)
	}
}

// A client that does not ask for it gets no job, and each answer says that it depends.
func TestClientsThatDoNotAsk(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route(short)))
	u.gate <- struct{}{}
	for _, preference := range []string{"", "wait=0", "return=minimal"} {
		res, body := c.post("/", preference)
		if res.StatusCode != 200 || res.Header.Get("Vary") != "Prefer" || res.Header.Get("Preference-Applied") != "" || !strings.HasPrefix(body, "answer") {
			t.Errorf("%q: got %s %v %s", preference, res.Status, res.Header, body)
		}
	}
}

// A response that does not begin in time becomes the result of a job: of the same run.
func TestALateResponseBecomesAResult(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route(short)))
	res, body := c.post("/slow", "respond-async", "Cookie", "secret=1", "Authorization", "Bearer x", "X-Own", "1")
	id := job(t, res, body)
	if res.Header.Get("Preference-Applied") != "respond-async" || res.Header.Get("Vary") != "Prefer" {
		t.Errorf("got %v", res.Header)
	}
	u.gate <- struct{}{}
	view := ended(t, id)
	if view.State != jobs.Succeeded || view.Response.Status != 200 || result(t, id) != "answer 1 to body" || u.runs() != 1 {
		t.Errorf("%s after %d runs: %s", view.State, u.runs(), result(t, id))
	}
	for _, f := range view.Response.Header {
		if f.Name == "Set-Cookie" || f.Name == "Server" {
			t.Errorf("stored %v", f)
		}
	}
	r := u.request(0).Header
	if r.Get("Offload-Job-Id") != id.String() || r.Get("Offload-Attempt") != "1" || r.Get("X-Own") != "1" ||
		r.Get("Cookie") != "" || r.Get("Authorization") != "" || r.Get("Prefer") != "" || r.Get("Idempotency-Key") != "" {
		t.Errorf("the upstream got %v", r)
	}
}

// wait=0 asks for a job at once: it is stored before it runs.
func TestAJobAtOnce(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route(long, "keep_authorization", "keep_header Cookie")))
	res, body := c.post("/slow?q=1", "respond-async, wait=0", "Cookie", "secret=1", "Authorization", "Bearer x")
	id := job(t, res, body)
	u.gate <- struct{}{}
	if view := ended(t, id); view.State != jobs.Succeeded || result(t, id) != "answer 1 to body" || u.runs() != 1 {
		t.Errorf("%s after %d runs", view.State, u.runs())
	}
	r := u.request(0)
	if r.Header.Get("Cookie") != "secret=1" || r.Header.Get("Authorization") != "Bearer x" || r.URL.RawQuery != "q=1" || r.Header.Get("X-Forwarded-Proto") != "http" {
		t.Errorf("the upstream got %v %v", r.URL, r.Header)
	}
}

// With accept always, every client gets a job if its response is late.
func TestAlways(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route("accept always", short)))
	res, body := c.send(http.MethodGet, "/slow", "")
	id := job(t, res, body)
	u.gate <- struct{}{}
	if view := ended(t, id); view.State != jobs.Succeeded || res.Header.Get("Preference-Applied") != "" {
		t.Errorf("%s, %v", view.State, res.Header)
	}
	if res, body := c.send(http.MethodGet, "/", ""); res.StatusCode != 200 {
		t.Errorf("in time: %s %s", res.Status, body)
	}
}

// A client that leaves before it gets a job ends the work, unless the route detaches it.
func TestClientsThatLeave(t *testing.T) {
	for name, detach := range map[string]bool{"as without jobs": false, "detach": true} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream()
			options := []string{long}
			if detach {
				options = append(options, "detach")
			}
			s := site.Serve(t, u, route(options...))
			ctx, cancel := context.WithCancel(t.Context())
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Clear+"/slow", nil)
				r.Header.Set("Prefer", "respond-async")
				if res, err := http.DefaultClient.Do(r); err == nil {
					res.Body.Close()
				}
			}()
			testkit.Eventually(t, func() bool { return u.runs() == 1 })
			cancel()
			<-gone
			if !detach {
				testkit.Eventually(t, func() bool { return u.request(0).Context().Err() != nil })
				return
			}
			var all jobs.ViewPage
			testkit.Eventually(t, func() bool {
				all, _ = service(t).List(t.Context(), jobs.Query{Limit: 10})
				return len(all.Views) == 1
			})
			u.gate <- struct{}{}
			if view := ended(t, all.Views[0].ID); view.State != jobs.Succeeded || u.runs() != 1 {
				t.Errorf("%s after %d runs", view.State, u.runs())
			}
		})
	}
}

// Without a free permit the job is stored first, and answered inline if it ends in time.
func TestNoPermitFree(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.Serve(t, u, route(long)))
	var first []jobs.ID
	for range 4 {
		res, body := c.post("/slow", "respond-async, wait=0")
		first = append(first, job(t, res, body))
	}
	testkit.Eventually(t, func() bool { return u.runs() == 4 })
	answered := make(chan string)
	go func() {
		_, body := c.post("/", "respond-async, wait=30")
		answered <- body
	}()
	testkit.Eventually(t, func() bool {
		page, err := service(t).List(t.Context(), jobs.Query{Limit: 10})
		return err == nil && len(page.Views) == 5
	})
	for range 4 {
		u.gate <- struct{}{}
	}
	if body := <-answered; body != "answer 5 to body" {
		t.Errorf("got %s", body)
	}
	for _, id := range first {
		if view := ended(t, id); view.State != jobs.Succeeded {
			t.Errorf("%s", view.State)
		}
	}
}

// The cost of a stored job is computed by its body, before it has a permit.
func TestTheCostOfAJobByItsBody(t *testing.T) {
	u := newUpstream()
	text := strings.Replace(route(long), "offload {", "offload {\n\t\tcost json n", 1)
	if !strings.Contains(text, "cost json") {
		t.Fatalf("no cost in %s", text)
	}
	c := clientOf(t, site.Serve(t, u, text))
	res, body := c.send(http.MethodPost, "/", `{"n": 3}`, "Prefer", "respond-async, wait=0")
	if view := ended(t, job(t, res, body)); view.State != jobs.Succeeded {
		t.Errorf("the job is %s", view.State)
	}
}
