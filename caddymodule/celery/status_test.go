package celery_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// The status page has the workers by their heartbeats, and the queues that requests were
// checked against. A worker's name is text.
func TestStatusPageShowsWorkersAndQueues(t *testing.T) {
	l := newLab(t)
	l.work(1, end)
	s := site.Serve(t, nil, "offload_status /status\nroute {\n"+l.directive("task lab.echo\nargs value")+"}")
	c := s.Clients()["h1"]
	if _, text := site.Get(t, c, "https://"+s.Addr+"/status"); strings.Contains(text, "Celery") {
		t.Errorf("tables before the first connection: %s", text)
	}
	site.Get(t, c, "https://"+s.Addr+"/")
	testkit.Eventually(t, func() bool {
		beat := `{"type": "worker-heartbeat", "hostname": "w1@lab<script>", "freq": 2.0, "active": 3, "processed": 41, "sw_ver": "5.6.1"}`
		if err := l.Event(t.Context(), "worker.heartbeat", []byte(beat)); err != nil {
			t.Fatal(err)
		}
		res, text := site.Get(t, c, "https://"+s.Addr+"/status")
		return res.StatusCode == http.StatusOK && strings.Contains(text, "<td>w1@lab&lt;script&gt;</td><td>3</td><td>41</td><td>5.6.1</td>") &&
			strings.Contains(text, "<td>celery</td><td>0</td>") && strings.Contains(text, "Celery&#39;s workers at "+l.name)
	})
}
