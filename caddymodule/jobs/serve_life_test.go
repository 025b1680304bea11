package jobs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/store"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// A job that runs goes on through reloads, with the handler that it began with.
func TestJobsSurviveReloads(t *testing.T) {
	u := newUpstream()
	s := site.Serve(t, u, route(long))
	c := clientOf(t, s)
	res, body := c.post("/slow", "respond-async, wait=0")
	id := job(t, res, body)
	testkit.Eventually(t, func() bool { return u.runs() == 1 })
	first := store.Current()
	for n := range 3 {
		s.Load(route(long, fmt.Sprintf("attempts %d", n+2)))
	}
	if store.Current() != first {
		t.Error("the store was opened again")
	}
	u.gate <- struct{}{}
	if view := ended(t, id); view.State != jobs.Succeeded || view.Attempt != 1 || u.runs() != 1 {
		t.Errorf("%s at attempt %d after %d runs", view.State, view.Attempt, u.runs())
	}
}

// Clients submit jobs during reloads: none is lost, and none runs twice.
func TestReloadStormWithJobs(t *testing.T) {
	u := newUpstream()
	u.answer = func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Header.Get("X-Number"))) }
	s := site.Serve(t, u, route(long))
	c := clientOf(t, s)
	var mu sync.Mutex
	ids := make(map[jobs.ID]string)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				number := fmt.Sprintf("%d-%d", worker, n)
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/", strings.NewReader("x"))
				r.Header.Set("Prefer", "respond-async, wait=0")
				r.Header.Set("X-Number", number)
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					continue // a connection that the reload has closed
				}
				_, id, _ := strings.Cut(res.Header.Get("Location"), "/.jobs/")
				res.Body.Close()
				parsed, err := jobs.ParseID(id)
				if res.StatusCode != http.StatusAccepted || err != nil {
					t.Errorf("got %s", res.Status)
					return
				}
				mu.Lock()
				ids[parsed] = number
				mu.Unlock()
			}
		})
	}
	for n := range 10 {
		s.Load(route(long, fmt.Sprintf("attempts %d", n+2)))
	}
	close(stop)
	all.Wait()
	for id, number := range ids {
		if view := ended(t, id); view.State != jobs.Succeeded || view.Attempt != 1 || result(t, id) != number {
			t.Errorf("job %s: %s (%s) at attempt %d: %+v", number, view.State, view.Reason, view.Attempt, view.Attempts)
		}
	}
	counts := make(map[string]int)
	for n := range u.runs() {
		counts[u.request(n).Header.Get("X-Number")]++
	}
	for number, n := range counts {
		if n > 1 {
			t.Errorf("job %s ran %d times", number, n)
		}
	}
	if len(ids) == 0 {
		t.Error("no job was accepted")
	}
}

// unable adds a server that cannot listen to a configuration.
func unable(t *testing.T, config []byte) []byte {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(config, &all); err != nil {
		t.Fatal(err)
	}
	servers := all["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any)
	servers["unable"] = map[string]any{"listen": []string{"203.0.113.1:1"}}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A configuration that fails to load takes nothing from the one that runs.
func TestFailedReload(t *testing.T) {
	u := newUpstream()
	s := site.Serve(t, u, route(long))
	_ = s.LoadFails(unable(t, s.Config(route(long, "attempts 2"))))
	c := clientOf(t, s)
	res, body := c.post("/", "respond-async, wait=0")
	if view := ended(t, job(t, res, body)); view.State != jobs.Succeeded || view.Policy.MaxAttempts != 4 {
		t.Errorf("%s with %d attempts", view.State, view.Policy.MaxAttempts)
	}
}

// Jobs of a route that was removed stay, and run when it is there again.
func TestARouteIsRemovedAndComesBack(t *testing.T) {
	u := newUpstream()
	s := site.ServeGlobal(t, u, "offload {\n\tjobs {\n\t\tqueue 100\n\t}\n}", route(long))
	c := clientOf(t, s)
	for range 4 {
		res, body := c.post("/slow", "respond-async, wait=0")
		job(t, res, body)
	}
	testkit.Eventually(t, func() bool { return u.runs() == 4 })
	res, body := c.post("/slow", "respond-async, wait=0")
	id := job(t, res, body)
	s.Load("respond gone")
	for range 5 {
		u.gate <- struct{}{}
	}
	testkit.Eventually(t, func() bool {
		view, err := service(t).Get(t.Context(), id)
		return err == nil && view.WaitingFor == "route"
	})
	s.Load(route(long))
	if view := ended(t, id); view.State != jobs.Succeeded || u.runs() != 5 {
		t.Errorf("%s after %d runs", view.State, u.runs())
	}
}

// A store that is closed and opened again has its jobs.
func TestARestartKeepsJobs(t *testing.T) {
	u := newUpstream()
	s := site.Serve(t, u, route(long))
	c := clientOf(t, s)
	res, body := c.post("/", "respond-async, wait=0")
	done := job(t, res, body)
	ended(t, done)
	res, body = c.send(http.MethodGet, "/slow", "", "Prefer", "respond-async, wait=0")
	running := job(t, res, body)
	testkit.Eventually(t, func() bool { return u.runs() == 2 })
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	u.gate <- struct{}{}
	testkit.Eventually(t, func() bool { return len(store.All()) == 0 })
	store.Wait(t.Context())
	u.gate <- struct{}{}
	s.Load(route(long))
	if view := ended(t, done); view.State != jobs.Succeeded || result(t, done) != "answer 1 to body" {
		t.Errorf("%s", view.State)
	}
	if view := ended(t, running); view.State != jobs.Succeeded {
		t.Errorf("%s", view.State)
	}
}

// A store without room rejects jobs, and serves all other requests.
func TestAFullStore(t *testing.T) {
	u := newUpstream()
	c := clientOf(t, site.ServeGlobal(t, u, "offload {\n\tjobs {\n\t\tmax_bytes 100KiB\n\t}\n}", route(long)))
	full := false
	for range 20 {
		res, body := c.send(http.MethodPost, "/", strings.Repeat("x", 15<<10), "Prefer", "respond-async, wait=0")
		if full = res.StatusCode == http.StatusServiceUnavailable; full {
			isProblem(t, res, body, 503, "store_full")
			break
		}
		ended(t, job(t, res, body))
	}
	if !full {
		t.Error("never full")
	}
	if res, body := c.post("/", "respond-async"); res.StatusCode != 200 {
		t.Errorf("in time: %s %s", res.Status, body)
	}
	answered := make(chan string)
	go func() {
		_, body := c.send(http.MethodPost, "/slow", strings.Repeat("x", 15<<10), "Prefer", "respond-async, wait=1")
		answered <- body
	}()
	testkit.Pause(1500 * time.Millisecond) // the wait ends, and there is no room for a job
	u.gate <- struct{}{}
	if body := <-answered; !strings.HasPrefix(body, "answer") {
		t.Errorf("late: %.100s", body)
	}
}

// A client that waits while its configuration is replaced gets a job all the same.
func TestAJobOfAnEarlierConfiguration(t *testing.T) {
	u := newUpstream()
	s := site.Serve(t, u, route(long))
	c := clientOf(t, s)
	type answer struct {
		res  *http.Response
		body string
	}
	got := make(chan answer)
	go func() {
		res, body := c.post("/slow", "respond-async, wait=2")
		got <- answer{res, body}
	}()
	testkit.Eventually(t, func() bool { return u.runs() == 1 })
	s.Load(route(long, "attempts 2"))
	a := <-got
	id := job(t, a.res, a.body)
	u.gate <- struct{}{}
	if view := ended(t, id); view.State != jobs.Succeeded || u.runs() != 1 {
		t.Errorf("%s after %d runs", view.State, u.runs())
	}
}
