//go:build integration

package backends

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/backends/measured"
)

// burst returns twelve clients that come at once. Every third leaves early.
func burst(route string) []client {
	clients := slices.Repeat([]client{{route: route, seconds: 0.3}}, 12)
	for i := range clients {
		if i%3 == 2 {
			clients[i].leaveAfter = 150 * time.Millisecond
		}
	}
	return clients
}

// through has a burst come through offload, with the Caddyfile of the page.
func (b setup) through(t *testing.T, s *served, block string) (r measured.Through) {
	t.Helper()
	p := startProxy(t, s, "\thandle_path /through/* {\n"+siteOf(t, block, s, b.path())+"\t}\n")
	r.Limit = limitOf(t, block)
	for _, a := range askAll(p, "through", burst(b.path()), 10*time.Millisecond) {
		if a.left {
			continue
		}
		r.Stayed++
		if a.status == http.StatusOK && !a.cut {
			r.Served++
		} else {
			t.Errorf("%s: %s got %v", b.name, a.client, a)
		}
	}
	p.eventually("the backend has ended all", func() bool {
		_, now, most := s.journal.inside(t, "through")
		r.Inside = most
		return now == 0
	})
	if r.Inside > r.Limit {
		t.Errorf("%s: %d requests were inside at once, for %d permits", b.name, r.Inside, r.Limit)
	}
	return r
}
