package shadow

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/cors"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// ServeHTTP lets a request through, and has the pool decide about it.
func (rt *Route) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	key := "offload.shadow." + rt.Pool.Name()
	if caddyhttp.GetVar(r.Context(), key) != nil { // a route in this one has the same pool
		return next.ServeHTTP(w, r)
	}
	caddyhttp.SetVar(r.Context(), key, true)
	rt.Ready()
	v := newVisit(rt, r)
	v.show()
	v.arrive()
	defer v.ended()
	v.writer.ResponseWriter = w
	err := next.ServeHTTP(&v.writer, r)
	v.returned(err)
	return err
}

// arrive lets the pool decide.
func (v *visit) arrive() {
	rt := v.route
	defer rt.Pool.Entered()
	if reason := v.rejectedAlone(); reason != 0 {
		v.rejected(rt.Pool.Reject(reason))
		return
	}
	permit, err := v.ticket.AcquireNow()
	if !errors.Is(err, offloader.ErrNotNow) {
		v.decided(permit, err)
		return
	}
	f, ok := v.ticket.Forecast()
	if ok && v.limit.Any() && f.Wait+f.Run > time.Until(v.limit.End) {
		v.rejected(rt.Pool.Reject(offloader.PredictedLate))
		return
	}
	if v.ticket.CappedBy == 0 && !v.ticket.Preflight {
		if err := v.ticket.Announce(); err != nil {
			v.rejected(err)
			return
		}
	}
	v.waits = true // before another goroutine knows it
	go v.wait()
}

// rejectedAlone returns the reason to reject the request that does not depend on the pool's
// state, zero if there is none.
func (v *visit) rejectedAlone() offloader.Reason {
	rt, r := v.route, v.client
	if v.limit.Any() && !time.Now().Before(v.limit.End) {
		return offloader.WaitTimeout
	}
	bounds := rt.RequestBounds.Sum()
	if r.ContentLength == 0 || r.Body == nil || bounds == 0 {
		return 0
	}
	kind, refused := rt.Unspooled.Of(r)
	switch {
	case refused:
		return requests.IncrementalRefused
	case kind != nil && rt.Unspooled.Bounds(kind, r):
		v.ticket.CappedBy = requests.UnspooledLimit
	case kind == nil && r.ContentLength > bounds:
		return requests.BodyTooLarge
	}
	return 0
}

// wait is a virtual waiter.
func (v *visit) wait() {
	ctx, cancel := context.WithCancel(v.route.Exit)
	defer cancel()
	if v.limit.Any() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, v.limit.End)
		defer stop()
	}
	defer context.AfterFunc(v.left, cancel)()
	permit, err := v.ticket.Acquire(ctx)
	v.decided(permit, err)
	if err != nil {
		return
	}
	select {
	case <-v.over:
	case <-v.route.Exit.Done():
	}
	rest := time.NewTimer(v.virtualEnd())
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-v.route.Exit.Done():
	}
	v.release()
}

func newVisit(rt *Route, r *http.Request) *visit {
	now := time.Now()
	v := &visit{route: rt, client: r, came: now, grpc: requestbody.IsCall(r), over: make(chan struct{})}
	v.writer.head = v.began
	v.ticket.Pool, v.ticket.Preflight = rt.Pool.Pool, cors.IsPreflight(r)
	v.claim()
	v.left, v.leave = context.WithCancel(context.Background())
	v.unwatch = context.AfterFunc(r.Context(), v.leave)
	v.limit, _ = rt.Deadline.Of(r, now, now)
	return v
}

// claim sets the key, the class and the cost. A cost that depends on the body is one here,
// since the body is not read.
func (v *visit) claim() {
	rules := v.route.Claims
	repl, ok := v.client.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if rules != nil && ok && !v.ticket.Preflight {
		v.ticket.Claim = rules.Of(repl, requests.ClientOf(v.client, requests.DeterminedClient(v.client)))
	}
}

// show adds the decision to the access log.
func (v *visit) show() {
	server, ok := v.client.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil || server.Logs == nil {
		return
	}
	if extra, ok := v.client.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.Object("offload", v))
	}
}
