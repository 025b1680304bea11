package leave

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// leaveStage is a site with one permit and one place, and its upstream.
type leaveStage struct {
	*site.Site
	admin     string // address of its endpoint
	folder    string // of the spool
	up        site.Counter
	cancelled atomic.Int64
	goOn      chan struct{} // lets a run of the upstream end
	logged    int
}

func newLeaveStage(t *testing.T, words string) *leaveStage {
	st := &leaveStage{admin: site.FreeAddr(t), folder: t.TempDir(), goOn: make(chan struct{})}
	st.Site = site.ServeGlobal(t, http.HandlerFunc(st.serve), "admin "+st.admin+"\noffload {\nspool {\ndir "+st.folder+"\n}\n}", `
	offload {
		name leaves
		concurrency 1
		queue 1
		max_wait off
		breaker {
			consecutive_failures 1
		}
		abandon_timeout 500ms
		request_spool 64KiB 1MiB
		`+words+`
	}
	`+kit.StateRoute+`
	reverse_proxy UPSTREAM`)
	return st
}

func (st *leaveStage) serve(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	st.up.Enter()
	defer st.up.Leave()
	if r.URL.Path == "/stream" {
		w.Write([]byte("begin"))
		http.NewResponseController(w).Flush()
	}
	select {
	case <-r.Context().Done():
		st.cancelled.Add(1)
	case <-st.goOn:
	}
}

// left waits for the log's line of a client that has left, and until its request
// has left nothing.
func (st *leaveStage) left(t *testing.T, status float64) {
	t.Helper()
	kit.Idle(t, st.Site)
	testkit.Eventually(t, func() bool { return kit.InGate.Now.Load() == 0 && st.up.Now.Load() == 0 })
	nothingLeft(t, st.folder)
	var statuses []any
	for _, line := range st.AccessLog(1)[st.logged:] {
		st.logged++
		if line["request"].(map[string]any)["uri"] != "/state" {
			statuses = append(statuses, line["status"])
		}
	}
	if len(statuses) != 1 || statuses[0] != status {
		t.Errorf("logged with %v, want %v", statuses, status)
	}
}

// A client may leave in any phase of its request, on any version of HTTP. Its resources
// are free at once, except for the permit of a run that continues.
func TestLeave(t *testing.T) {
	for word, cancels := range map[string][2]bool{ // before and after the first byte
		"auto": {false, true}, "finish": {false, false}, "cancel": {true, true},
	} {
		t.Run(word, func(t *testing.T) {
			st := newLeaveStage(t, "on_abandon "+word)
			for _, l := range leavers(t, st.Site) {
				t.Run(l.kind, func(t *testing.T) {
					t.Run("uploading", func(t *testing.T) { st.leaveUploading(t, l) })
					t.Run("waiting", func(t *testing.T) { st.leaveWaiting(t, l) })
					t.Run("running", func(t *testing.T) { st.leaveRunning(t, l, cancels[0]) })
					t.Run("streaming", func(t *testing.T) { st.leaveStreaming(t, l, cancels[1]) })
				})
			}
		})
	}
}

func (st *leaveStage) leaveUploading(t *testing.T, l *leaver) {
	before := st.up.Total.Load()
	v := l.send(t, "/hang")
	v.body.Write(make([]byte, 100<<10)) // more than is kept in memory
	testkit.Eventually(t, func() bool { return kit.InGate.Now.Load() == 1 && len(openFiles(st.folder)) == 1 })
	v.left()
	st.left(t, 499)
	if got := st.up.Total.Load(); got != before {
		t.Errorf("%d runs of a half body", got-before)
	}
}

func (st *leaveStage) leaveWaiting(t *testing.T, l *leaver) {
	holder := leavers(t, st.Site)[0].ask(t, "/hang")
	testkit.Eventually(t, func() bool { return st.up.Now.Load() == 1 })
	before := st.up.Total.Load()
	for range 3 { // each finds the one place free
		v := l.ask(t, "/hang")
		testkit.Eventually(t, func() bool { return kit.InGate.Now.Load() == 2 && len(openFiles(st.folder)) == 2 })
		kit.Until(t, st.admin, "leaves", kit.Pool{Waiting: 1, Running: 1})
		v.left()
		testkit.Eventually(t, func() bool { return kit.InGate.Now.Load() == 1 && len(openFiles(st.folder)) == 1 })
	}
	if got := st.up.Total.Load(); got != before {
		t.Errorf("%d runs of those who left the queue", got-before)
	}
	st.goOn <- struct{}{}
	if err := <-holder.head; err != nil {
		t.Fatal(err)
	}
	holder.left()
	kit.Idle(t, st.Site)
	left := 0
	for _, line := range st.AccessLog(st.logged + 5)[st.logged:] { // that of idle is one too
		st.logged++
		if line["status"] == 499.0 {
			left++
		}
	}
	if left != 3 {
		t.Errorf("%d were logged with 499, want the 3 that waited", left)
	}
}

func (st *leaveStage) leaveRunning(t *testing.T, l *leaver, cancels bool) {
	before := st.cancelled.Load()
	v := l.ask(t, "/hang")
	testkit.Eventually(t, func() bool { return st.up.Now.Load() == 1 })
	v.left()
	if !cancels {
		kit.Until(t, st.admin, "leaves", kit.Pool{Running: 1, Abandoned: 1})
		testkit.Quiet(50 * time.Millisecond)
		if st.cancelled.Load() != before {
			t.Error("the run was cancelled")
		}
		st.goOn <- struct{}{}
	}
	st.left(t, 499)
	if got := st.cancelled.Load() - before; (got == 1) != cancels {
		t.Errorf("%d runs were cancelled, want one: %v", got, cancels)
	}
}

func (st *leaveStage) leaveStreaming(t *testing.T, l *leaver, cancels bool) {
	before := st.cancelled.Load()
	v := l.ask(t, "/stream")
	if err := <-v.head; err != nil {
		t.Fatal(err)
	}
	v.left()
	if !cancels {
		testkit.Quiet(50 * time.Millisecond)
		st.goOn <- struct{}{}
	}
	st.left(t, 200) // the status that the client has got
	if got := st.cancelled.Load() - before; (got == 1) != cancels {
		t.Errorf("%d runs were cancelled, want one: %v", got, cancels)
	}
}
