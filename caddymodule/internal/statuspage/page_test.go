package statuspage_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/statuspage"
)

// show requests a page of one moment.
func show(t *testing.T, query string, change func(*admin.Status)) (text string) {
	t.Helper()
	bubble(t, &source{change: change}, func(t *testing.T, page *statuspage.Page) { text = get(t, page, query).Body.String() })
	return text
}

func wantTexts(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the page:\n%s", want, text)
		}
	}
}

func TestThePageNamesTheStateOfAPool(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*admin.PoolStatus){
		"idle":         func(*admin.PoolStatus) {},
		"serving":      func(p *admin.PoolStatus) { p.Pool.Running = 1 },
		"queueing":     func(p *admin.PoolStatus) { p.Pool.Running, p.Pool.Waiting = 8, 1 },
		"paused":       func(p *admin.PoolStatus) { p.Pool.Phase = "paused" },
		"draining":     func(p *admin.PoolStatus) { p.Pool.Phase = "draining" },
		"closed":       func(p *admin.PoolStatus) { p.Pool.Phase = "closed" },
		"breaker open": func(p *admin.PoolStatus) { p.Pool.Breaker = "open" },
		"probing":      func(p *admin.PoolStatus) { p.Pool.Breaker = "half_open" },
		"warming up":   func(p *admin.PoolStatus) { p.Pool.WarmingUp = 2 },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			text := show(t, "", func(s *admin.Status) {
				p := pool("a", 0, 8, 0, 100)
				change(&p)
				s.Pools = []admin.PoolStatus{p}
			})
			wantTexts(t, text, `data-f="state">`+want+"<")
		})
	}
}

func TestThePageSaysWhenABreakerProbes(t *testing.T) {
	t.Parallel()
	text := show(t, "?pool=a", func(s *admin.Status) {
		p := pool("a", 0, 3, 0, 100)
		p.Pool.Breaker, p.Pool.ProbesIn = "open", 7*time.Second
		s.Pools = []admin.PoolStatus{p}
	})
	wantTexts(t, text, "breaker open, probes in 7.0s")
}

// Callers that a breaker makes wait are not rejected, and the page says so in both places.
func TestThePageSaysThatABreakerHoldsCallers(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*admin.PoolStatus){
		"breaker open, 12 held, probes in 400ms":      func(p *admin.PoolStatus) { p.Pool.Breaker, p.Pool.ProbesIn = "open", 400*time.Millisecond },
		"breaker half-open, 12 held, a probe decides": func(p *admin.PoolStatus) { p.Pool.Breaker = "half_open" },
		"breaker open, forced":                        func(p *admin.PoolStatus) { p.Pool.Breaker, p.Pool.BreakerForced = "open", true },
	} {
		for _, query := range []string{"", "?pool=a"} {
			text := show(t, query, func(s *admin.Status) {
				p := pool("a", 0, 3, 12, 100)
				p.Pool.BreakerHeld = 12
				change(&p)
				s.Pools = []admin.PoolStatus{p}
			})
			wantTexts(t, text, `data-f="breakerNote">`+want+"<")
		}
	}
}

func TestThePageOfAPoolHasItsUpstreams(t *testing.T) {
	t.Parallel()
	upstreams := func(s *admin.Status) {
		p := pool("a", 3, 8, 0, 100)
		p.Pool.Upstreams = []admin.UpstreamView{{Name: "10.0.0.7:8000", Available: true, Limit: 4, Running: 3}, {Name: "<b>:80", Limit: 4}}
		s.Pools = []admin.PoolStatus{p}
	}
	wantTexts(t, show(t, "?pool=a", upstreams), `data-section="upstreams">`,
		`<td class="long">10.0.0.7:8000</td><td class="">yes</td><td class="n">3 / 4</td>`,
		`<td class="long">&lt;b&gt;:80</td><td class="">no</td><td class="n">0 / 4</td>`)
	without := show(t, "?pool=a", func(s *admin.Status) { s.Pools = []admin.PoolStatus{pool("a", 3, 8, 0, 100)} })
	wantTexts(t, without, `data-section="upstreams" hidden>`)
	bubble(t, &source{change: upstreams}, func(t *testing.T, page *statuspage.Page) {
		v := watch(t, page, "&pool=a")
		pass(2 * time.Second)
		end(v)
		var detail struct{ Upstreams [][]string }
		if err := json.Unmarshal(v.last(t, "detail"), &detail); err != nil || fmt.Sprint(detail.Upstreams) != "[[10.0.0.7:8000 yes 3 / 4] [<b>:80 no 0 / 4]]" {
			t.Errorf("viewers get %q, %v", detail.Upstreams, err)
		}
	})
}

func TestThePageShowsWarmUpAndOverrides(t *testing.T) {
	t.Parallel()
	text := show(t, "", func(s *admin.Status) {
		p := pool("a", 1, 1, 0, 100)
		p.Pool.Concurrency, p.Pool.WarmingUp = 3, 1
		p.Pool.Settings, p.Pool.Overridden = map[string]any{"concurrency": 3}, map[string]string{"concurrency": "8"}
		s.Pools = []admin.PoolStatus{p}
	})
	wantTexts(t, text, "warming up, 1 of 3", "concurrency 3 (configured 8)")
}

// Long lists are cut, and say so.
func TestAListNamesTheNumberOfAllRequests(t *testing.T) {
	t.Parallel()
	text := show(t, "?pool=a", func(s *admin.Status) {
		s.Pools = []admin.PoolStatus{pool("a", 1, 1, 1000, 2000)}
		s.Requests = map[string]admin.PoolRequests{"a": {Waiting: make([]requests.View, 200), WaitingTotal: 1000}}
	})
	wantTexts(t, text, "Waiting: 1000", "and 800 more")
}

func TestEndedRequestsAreExplained(t *testing.T) {
	t.Parallel()
	at := time.Now()
	change := func(s *admin.Status) {
		s.Pools = []admin.PoolStatus{pool("a", 1, 1, 0, 10), pool("b", 1, 1, 0, 10)}
		e := admin.Explanation{
			ID: "f0m3d9u4usehc", Pool: "a", At: &at, Client: "192.0.2.7", Method: "GET", Host: "example.com", Path: "/report",
			Decision: "rejected", Sentences: []string{"The queue was full.", "It had 100 waiters."},
		}
		slow := e
		slow.Decision, slow.Path, slow.Sentences = "served", "/slow", []string{"It ran for 3 s: `linger` and `queue`."}
		s.Explanations, s.Slowest = []admin.Explanation{e}, []admin.Explanation{slow}
	}
	wantTexts(t, show(t, "", change),
		"GET example.com/report", "The queue was full. It had 100 waiters.",
		"GET example.com/slow", "It ran for 3 s: “linger” and “queue”.")
	if text := show(t, "?pool=b", change); strings.Contains(text, "example.com/report") {
		t.Error("the page of a pool explains the requests of another one")
	}
}

func TestAPoolThatDoesNotExistIsNotFound(t *testing.T) {
	t.Parallel()
	bubble(t, new(source), func(t *testing.T, page *statuspage.Page) {
		if w := get(t, page, "?pool=none"); w.Code != 404 || !strings.Contains(w.Body.String(), "There is no pool of this name") {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}

// A page that another name leads to has a token for that name alone.
func TestTheTokenOfAnotherHostIsWorthNothing(t *testing.T) {
	t.Parallel()
	s := &source{change: func(now *admin.Status) { now.Pools = []admin.PoolStatus{pool("a", 1, 1, 0, 10)} }}
	synctest.Test(t, func(t *testing.T) {
		page := statuspage.New(statuspage.NewHub(s), statuspage.Options{Actions: true})
		act := func(shownAt, usedAt string) int {
			w := httptest.NewRecorder()
			if err := page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://"+shownAt+"/?pool=a", nil)); err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(w.Body.String(), `name="token" value="`)
			token, _, _ := strings.Cut(rest, `"`)
			r := httptest.NewRequest(http.MethodPost, "http://"+usedAt+"/", strings.NewReader(url.Values{"token": {token}, "action": {"pause"}, "pool": {"a"}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", "http://"+usedAt)
			w = httptest.NewRecorder()
			if err := page.ServeHTTP(w, r); err != nil {
				t.Fatal(err)
			}
			return w.Code
		}
		if status := act("evil.test", "status.test"); status != http.StatusForbidden {
			t.Errorf("got %d", status)
		}
		if status := act("status.test", "status.test"); status != http.StatusSeeOther {
			t.Errorf("its own token: got %d", status)
		}
		pass(time.Hour)
	})
	if len(s.done) != 1 || s.done[0] != "POST pools/a/pause null" {
		t.Errorf("the actions were %v", s.done)
	}
}
