package caddymodule

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// defaultClass is the class of requests that have none.
const defaultClass = "default"

// identity is what a request is known by. It is taken from the request once,
// since handlers may rewrite that. The path has the query if that shall be shown;
// like all else it may hold secrets.
type identity struct {
	id                         requestID
	came                       time.Time
	method, host, path, client string
}

func identityOf(r *http.Request, came time.Time, showQuery bool) identity {
	who := identity{id: newRequestID(), came: came, method: r.Method, host: r.Host, path: r.URL.Path}
	if showQuery && r.URL.RawQuery != "" {
		who.path += "?" + r.URL.RawQuery
	}
	who.client = determinedClient(r)
	return who
}

func determinedClient(r *http.Request) string {
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return client
}

// Request is one request in a pool, as the admin endpoint shows it.
type Request struct {
	ID   string `json:"id"`
	Pool string `json:"pool"`
	// Phase is uploading, waiting, running, streaming or upgraded.
	Phase requestPhase `json:"phase"`
	// Age is how long ago it came, InPhase how long ago its phase began.
	Age     time.Duration `json:"age_ns"`
	InPhase time.Duration `json:"in_phase_ns"`
	// Position in the queue, from 1, in the order in which waiters are served;
	// zero if it does not wait.
	Position int    `json:"position,omitempty"`
	Class    string `json:"class"`
	// Client is the client's address as Caddy determines it.
	Client string `json:"client"`
	Method string `json:"method"`
	Host   string `json:"host"`
	// Path has the query with it where the app shows it.
	Path string `json:"path"`
	// Abandoned: it holds a permit and nobody waits for it any more. Reason is
	// why, if it was cancelled.
	Abandoned bool   `json:"abandoned"`
	Reason    string `json:"reason,omitempty"`
	// Unspooled is the kind for which its body is passed on as it comes.
	Unspooled string `json:"unspooled,omitempty"`
}

// view describes the run. It may be called from any goroutine.
func (run *run) view(now time.Time) Request {
	phase, since := run.progress.now()
	who := &run.who
	r := Request{
		ID: run.id().String(), Pool: run.route.Pool.Name(), Phase: phase,
		Age: now.Sub(who.came), InPhase: now.Sub(since),
		Class: defaultClass, Unspooled: run.kindWord(), Client: who.client, Method: who.method, Host: who.host, Path: who.path,
	}
	if phase == phaseRunning {
		cancelled := run.cancelledFor()
		r.Abandoned = cancelled != 0 || run.client.Context().Err() != nil
		if cancelled != 0 {
			r.Reason = cancelled.String()
		}
	}
	return r
}

// id is that of the request: runs of nested pools share it.
func (run *run) id() requestID { return run.root().who.id }

// cancelledFor is the reason that has cancelled the run, zero if none has.
func (run *run) cancelledFor() offloader.Reason {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.late
}

// waiting lists a pool's queue in the order of service.
func waiting(p *livePool) []Request {
	now := time.Now()
	waiters := p.Waiters()
	all := make([]Request, 0, len(waiters))
	for i, w := range waiters {
		if run := runAt(w.Place); run != nil {
			r := run.view(now)
			r.Phase, r.InPhase, r.Position = phaseWaiting, w.Waited, i+1
			all = append(all, r)
		}
	}
	return all
}

// active lists the requests of a pool that are not in its queue, the oldest first.
func active(p *livePool) []Request {
	now := time.Now()
	all := []Request{}
	for _, listed := range p.requests.all() {
		if r := listed.(*run).view(now); r.Phase != phaseWaiting {
			all = append(all, r)
		}
	}
	return all
}

// noteDeparture abandons the permit of a run whose client has left.
func (run *run) noteDeparture() {
	if run.progress.phase() == phaseRunning && run.client.Context().Err() != nil {
		run.permit.Abandon()
	}
}

// findRun returns the request with that id, in its outermost pool, nil if there is
// none.
func findRun(id wantedID) *run {
	for _, pool := range allPools() {
		for _, listed := range pool.everyRequest() {
			if run := listed.(*run); id.of(run.id()) {
				return run.root()
			}
		}
	}
	return nil
}

// runAt returns the request at a place, nil if it is none of ours.
func runAt(place *offloader.Place) *run {
	if place == nil {
		return nil
	}
	run, _ := place.Owner.(*run)
	return run
}

var _ request = (*run)(nil)
