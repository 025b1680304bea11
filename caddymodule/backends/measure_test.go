//go:build integration

package backends

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/backends/measured"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// Durations. The ends differ by seconds, so that a busy machine does not change the
// result.
const (
	patience  = time.Minute
	longRun   = 4 * time.Second
	shortRun  = 100 * time.Millisecond
	aMoment   = 500 * time.Millisecond
	soon      = 2 * time.Second // after a client has left
	idleLimit = 130 * time.Second
)

// measurement is of one set-up without offload.
type measurement struct {
	t      *testing.T
	setup  setup
	direct direct
	j      journal
}

func (m measurement) request(id string, takes time.Duration) string {
	return fmt.Sprintf("/%s?id=%s&seconds=%v", m.setup.path(), id, takes.Seconds())
}

// await waits for an event of the journal.
func (m measurement) await(word, id string) {
	m.t.Helper()
	if !testkit.Poll(patience, func() bool { return m.j.at(m.t, word, id) >= 0 }) {
		m.t.Fatalf("%s: no %s of %s within %v: %v", m.setup.name, word, id, patience, m.j.events(m.t))
	}
}

// leave measures whether a handler stops when its client leaves, and whether the next one
// begins before that.
func (m measurement) leave() (stops, overlap bool) {
	m.t.Helper()
	first := m.direct.ask(m.request("leave-0", longRun))
	m.await("start", "leave-0")
	testkit.Pause(aMoment)
	first.leave()
	left := time.Now()
	testkit.Pause(aMoment)
	second := m.direct.ask(m.request("leave-1", shortRun))
	m.await("end", "leave-0")
	stops = time.Since(left) < soon
	if _, err := second.answer(patience); err != nil {
		m.t.Errorf("%s: the second request: %v", m.setup.name, err)
	}
	second.leave()
	begun, ended := m.j.at(m.t, "start", "leave-1"), m.j.at(m.t, "end", "leave-0")
	return stops, begun < ended
}

// waiting measures the results of requests that wait behind a long one and whose clients
// leave.
func (m measurement) waiting() measured.Waiting {
	m.t.Helper()
	const others = 5
	first := m.direct.ask(m.request("wait-0", longRun/2))
	m.await("start", "wait-0")
	var conns [others]*conn
	for i := range conns {
		conns[i] = m.direct.ask(m.request(fmt.Sprint("wait-", i+1), shortRun))
	}
	testkit.Pause(aMoment) // until the requests have arrived: the backend shows nothing of them
	for _, c := range conns {
		c.leave()
	}
	if _, err := first.answer(patience); err != nil {
		m.t.Errorf("%s: the first request: %v", m.setup.name, err)
	}
	first.leave()
	testkit.Quiet(soon) // for requests that run although their clients have left
	before, after := 0, 0
	for i := range others {
		switch at := m.j.at(m.t, "start", fmt.Sprint("wait-", i+1)); {
		case at < 0:
		case at < m.j.at(m.t, "end", "wait-0"):
			before++
		default:
			after++
		}
	}
	switch {
	case before == others:
		return measured.AtOnce
	case after == others:
		return measured.RunAll
	case before+after == 0:
		return measured.RunNone
	}
	return measured.Waiting(fmt.Sprintf("%d at once, %d later", before, after))
}

// idle waits until a connection is closed that has served a request.
func (m measurement) idle(limit time.Duration) (idle measured.Idle) {
	m.t.Helper()
	if m.setup.php {
		return measured.Idle{Each: true} // FastCGI, as Caddy speaks it
	}
	c := m.direct.ask("/fast")
	defer c.leave()
	res, err := c.answer(patience)
	if err != nil {
		m.t.Fatalf("%s: the fast route: %v", m.setup.name, err)
	}
	answered := time.Now()
	idle.Announced = res.Header.Get("Keep-Alive") != ""
	switch {
	case res.Close:
		idle.Each = true
	case c.ended(limit):
		idle.Seconds = time.Since(answered).Round(aMoment).Seconds()
		if idle.Seconds == 0 {
			idle.Each = true
		}
	default:
		idle.Never = limit.Seconds()
	}
	return idle
}

// blocked sends a request in time on an idle connection, while the loop is blocked until
// after the time when that would be closed.
func (m measurement) blocked(idle measured.Idle) measured.Fate {
	m.t.Helper()
	if m.setup.route != "block" || idle.Seconds == 0 {
		return ""
	}
	until := time.Duration(idle.Seconds * float64(time.Second))
	kept := m.direct.ask("/fast")
	defer kept.leave()
	if _, err := kept.answer(patience); err != nil {
		m.t.Fatalf("%s: the fast route: %v", m.setup.name, err)
	}
	used := time.Now()
	long := m.direct.ask(m.request("blocked-0", until+2*time.Second))
	defer long.leave()
	m.await("start", "blocked-0")
	testkit.Pause(time.Until(used.Add(until - time.Second)))
	if err := kept.send(http.MethodPost, "/fast"); err != nil {
		m.t.Fatalf("%s: the connection was closed too early: %v", m.setup.name, err)
	}
	if res, err := kept.answer(patience + until); err != nil || res.StatusCode != http.StatusOK {
		m.t.Logf("%s: on the idle connection: %v, %v", m.setup.name, res, err)
		return measured.Lost
	}
	return measured.Served
}
