//go:build unix

package jobs_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// When the process exits, attempts may end during the grace period. Then they are interrupted,
// and their jobs run again in the next process. A crash does the same.
func TestExit(t *testing.T) {
	for name, end := range map[string]func(*site.Process){
		"exit": func(p *site.Process) {
			_ = p.AskToStop() // the process may end before it has answered
			p.Wait()
		},
		"crash": func(p *site.Process) { p.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream()
			p := site.Start(t, u, "", "offload_jobs /.jobs/*\n\t"+route(long, "backoff 1ms"), site.Limits{})
			c := clientOf(t, p.Site)
			res, body := c.send(http.MethodGet, "/slow", "", "Prefer", "respond-async, wait=0")
			id := job(t, res, body)
			testkit.Eventually(t, func() bool { return u.runs() == 1 })
			end(p)
			p.Run()
			testkit.Poll(30*time.Second, func() bool { return u.runs() == 2 })
			u.inside(t, 1)
			u.gate <- struct{}{}
			testkit.Eventually(t, func() bool {
				res, body = c.send(http.MethodGet, "/.jobs/"+id.String()+"/result", "")
				return res.StatusCode == http.StatusOK
			})
			if body != "answer 2 to " || u.runs() != 2 {
				t.Errorf("%d runs, %s", u.runs(), body)
			}
		})
	}
}
