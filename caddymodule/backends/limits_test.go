//go:build integration

package backends

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// begin starts a backend that a test is about.
func begin(t *testing.T, b backend, how start) *served {
	t.Helper()
	t.Parallel()
	s, err := b.serve(t, pythonCommands(t), how)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *served) direct(t *testing.T) direct { return direct{t, s.addr, ""} }

// route is a route through a pool without a breaker, which would answer for the backend.
func (s *served) route(name string, limit int) string {
	return fmt.Sprintf(pool, name, limit, "", s.handler())
}

// holding are clients that wait for runs of that length.
func holding(n int, seconds float64) []client {
	return slices.Repeat([]client{{route: "hold", seconds: seconds}}, n)
}

// count is how many answers had a status.
func count(answers []answer, status int) (n int) {
	for _, a := range answers {
		if a.status == status && !a.cut {
			n++
		}
	}
	return n
}

// uvicorn counts connections and rejects all when there are as many as its limit: a limit
// that equals the pool's is one too low.
func TestUvicornRefusesAtItsOwnLimit(t *testing.T) {
	for own, want := range map[int]bool{4: false, 40: true} {
		t.Run(fmt.Sprint("limit-concurrency ", own), func(t *testing.T) {
			s := begin(t, backend{name: "uvicorn", args: fmt.Sprint("uvicorn --log-level error --limit-concurrency ", own, " --port PORT asgi_app:app")}, start{})
			p := startProxy(t, s, s.route("narrow", 4))
			answers := askAll(p, "narrow", holding(12, 0.5), 10*time.Millisecond)
			if all := count(answers, http.StatusOK) == len(answers); all != want {
				t.Errorf("all were served: %t: %v", all, answers)
			}
		})
	}
}

// waitress counts idle connections, and keeps them: at its limit it answers no new client
// until one ends.
func TestWaitressStopsAtItsConnections(t *testing.T) {
	s := begin(t, backend{name: "waitress", args: "waitress-serve --connection-limit 6 --listen ADDR wsgi_app:app"}, start{})
	var idle []*conn
	for full := false; !full; {
		c := s.direct(t).ask("/fast")
		_, err := c.answer(soon)
		full = err != nil
		if idle = append(idle, c); len(idle) > 6 {
			t.Fatal("it has no limit")
		}
	}
	waits := idle[len(idle)-1]
	idle[0].leave()
	if _, err := waits.answer(patience); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// Django starts a thread for each request to a view of def under ASGI.
func TestDjangoUnderASGIHasNoLimit(t *testing.T) {
	const n = 60 // more than the 40 threads that others share
	s := begin(t, backend{name: "Django", args: "uvicorn --log-level warning --port PORT django_app:asgi"}, start{})
	for i := range n {
		s.direct(t).ask(fmt.Sprintf("/hold?id=all-%d&seconds=20", i))
	}
	var most int
	if !testkit.Poll(patience, func() bool {
		_, _, most = s.journal.inside(t, "all")
		return most == n
	}) {
		t.Fatalf("%d were inside at once, of %d", most, n)
	}
}

// gunicorn ends a sync worker in the middle of its request, which gets a 500; runs of
// threads go on.
func TestTimeoutOfGunicorn(t *testing.T) {
	for class, want := range map[string]int{"sync": http.StatusInternalServerError, "gthread": http.StatusOK} {
		t.Run(class, func(t *testing.T) {
			s := begin(t, backend{name: class, args: "gunicorn --timeout 2 --worker-class " + class + " --bind ADDR wsgi_app:app"}, start{})
			res, err := s.direct(t).ask("/hold?id=long-0&seconds=6").answer(patience)
			if err != nil || res.StatusCode != want {
				t.Errorf("got %v, %v, want %d", res, err, want)
			}
		})
	}
}

// PHP-FPM ends a script without an answer when its time is over.
func TestTimeoutOfPHPFPM(t *testing.T) {
	s := begin(t, backend{name: "PHP-FPM", php: true}, start{workers: 1, extra: "request_terminate_timeout = 1"})
	p := startProxy(t, s, s.route("one", 1))
	if answers := askAll(p, "one", holding(1, 8), 0); count(answers, http.StatusBadGateway) != 1 {
		t.Errorf("got %v", answers)
	}
}

// Node closes connections on which a request has arrived in time, if its loop was
// blocked for longer than it keeps them: fast routes lose requests as well.
func TestNodeLosesWhatArrivesWhileItsLoopIsBlocked(t *testing.T) {
	s := begin(t, backend{name: "Node", args: "node node_app.js PORT"}, start{})
	site := "\thandle_path /kept/* {\n\t\treverse_proxy " + s.addr + "\n\t}\n" +
		"\thandle_path /fresh/* {\n\t\treverse_proxy " + s.addr + " {\n\t\t\ttransport http {\n\t\t\t\tkeepalive off\n\t\t\t}\n\t\t}\n\t}\n"
	p := startProxy(t, s, site)
	caddy := direct{t, p.addr, ""}
	if _, err := caddy.ask("/kept/fast").answer(patience); err != nil {
		t.Fatal(err)
	}
	s.direct(t).ask("/block?id=long-0&seconds=9")
	testkit.Pause(4 * time.Second)
	var conns []*conn
	for _, path := range []string{"/kept/fast", "/fresh/fast"} {
		c := caddy.dial()
		if err := c.send(http.MethodPost, path); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for i, want := range []int{http.StatusBadGateway, http.StatusOK} {
		if res, err := conns[i].answer(patience); err != nil || res.StatusCode != want {
			t.Errorf("request %d: got %v, %v, want %d", i, res, err, want)
		}
	}
}
