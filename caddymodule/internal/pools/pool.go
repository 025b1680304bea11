package pools

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/upstreamlist"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Pool is one pool, with the data that outlives the configurations that name it.
type Pool struct {
	*offloader.Pool
	Leases  Leases[offloader.Settings]
	used    atomic.Bool // a configuration with it has started
	gone    atomic.Bool // no configuration names it
	removed *set[*Pool] // of its table
	events  *Events     // of its table

	successor atomic.Pointer[succession] // nil without one
	spots     atomic.Pointer[[]Spot]     // where the configuration that ruled last has it
	Waits     prometheus.Histogram       // of admitted requests, in seconds
	Runs      prometheus.Histogram       // from the permit to its release, in seconds

	Sends      atomic.Uint64 // to backends
	Requests   registry
	Upstreams  upstreamlist.Lists
	rejections rejections
	holds      holds
	mode       mode
	statuses   atomic.Pointer[outcome.Statuses]
}

// Spot is one "offload" handler in a configuration.
type Spot struct {
	Pool     *Pool
	Server   string   // by its addresses
	Backends []string // of what comes behind it; none if that is not known
}

// succession links a pool to the pool that replaces it.
type succession struct {
	*offloader.Succession
	heir string // the name of the other
}

// ended is a context that has ended, for calls that must not wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Destruct is called when no configuration names the pool. Requests of the last
// configuration are in the pool, or still on their way through handlers in front of
// "offload": a reload loses none of them. The pool admits them as before, and is forgotten
// when they are served. Only a pause is ended, since operators can no longer end it.
func (p *Pool) Destruct() error {
	p.gone.Store(true)
	if p.Snapshot().Phase == offloader.PhasePaused {
		p.Resume()
	}
	p.forgetIfIdle()
	p.Entered()
	if p.used.Load() && !caddy.Exiting() {
		p.logRemoval()
	}
	return nil
}

// logRemoval logs that no configuration names the pool, and which state is lost with it.
func (p *Pool) logRemoval() {
	s := p.Snapshot()
	fields := []zap.Field{
		zap.Int("running", s.Running), zap.Int("waiting", s.Waiting), zap.Int("uploading", s.Announced),
		zap.String("successor", p.successorName()),
	}
	if s.Overridden.Count() > 0 {
		_, overridden := settings.Changed(p.Configured(), p.Settings())
		fields = append(fields, zap.Any("lost_override", overridden))
	}
	if s.BreakerForced {
		fields = append(fields, zap.Stringer("lost_forced_breaker", s.Breaker))
	}
	p.Logger().Info("pool removed: admitted requests finish", fields...)
}

// ObserveRun records the time of a run. A run whose connection was upgraded was recorded at
// the upgrade.
func (p *Pool) ObserveRun(took time.Duration, upgraded bool) {
	if upgraded {
		p.EndDetached()
		return
	}
	p.Runs.Observe(took.Seconds())
}

// Entered lists a removed pool again when a request has entered it, one of the
// configuration that has ended. It is called after each request has entered.
func (p *Pool) Entered() {
	if p.gone.Load() && p.Wait(ended) != nil && p.removed.add(p) {
		go p.finish()
	}
}

// finish waits for the last request in a removed pool. It ends only with these requests.
func (p *Pool) finish() {
	_ = p.Wait(context.Background())
	p.removed.remove(p)
	p.forgetIfIdle()
	p.Entered() // another one may have come in between
}

// follow applies the settings of the configuration that started last.
func (p *Pool) follow(s offloader.Settings) {
	p.statuses.Store(statusesOf(s))
	if p.used.Swap(true) {
		p.configure(s)
	} else {
		_ = p.Configure(s) // those it was made with, but for its routes' timeouts
	}
	p.Upstreams.Report() // to a pool that counts them only now
}

// statusesOf returns the statuses that are failures by settings, which are valid.
func statusesOf(s offloader.Settings) *outcome.Statuses {
	var statuses outcome.Statuses
	if s.Breaker != nil {
		statuses, _ = outcome.ParseStatuses(s.Breaker.Statuses)
	}
	return &statuses
}

// Statuses returns the statuses of answers that are failures, by the configuration that
// started last.
func (p *Pool) Statuses() outcome.Statuses { return *p.statuses.Load() }

// configure applies the settings of another configuration, which are valid, and logs the
// differences.
func (p *Pool) configure(s offloader.Settings) {
	was, configured, overridden := p.Settings(), p.Configured(), p.Overridden().Count() > 0
	_ = p.Configure(s)
	if overridden && p.Overridden().Count() == 0 {
		_, lost := settings.Changed(configured, was)
		p.Logger().Info("override ended by a reload: pool reconfigured", zap.Any("lost_override", lost))
	}
	p.LogSettings(was, "reload")
}

// LogSettings logs the settings that differ from was. The field by names the origin of
// the change.
func (p *Pool) LogSettings(was offloader.Settings, by string) {
	from, to := settings.Changed(was, p.Settings())
	if len(to) > 0 {
		p.Logger().Info("pool settings changed", zap.String("by", by), zap.Any("from", from), zap.Any("to", to))
	}
}

// breakerChanged logs a change of the breaker and emits its event.
func (p *Pool) breakerChanged(from, to offloader.BreakerState) {
	level, event := zapcore.InfoLevel, "offload.breaker_closed"
	fields := []zap.Field{zap.Stringer("from", from), zap.Stringer("to", to)}
	switch to {
	case offloader.StateOpen:
		level, event = zapcore.WarnLevel, "offload.breaker_opened"
		s := p.Pool.Snapshot()
		fields = append(fields, openingFields(&s)...)
	case offloader.StateHalfOpen:
		event = "offload.breaker_half_opened"
	}
	p.Logger().Log(level, "breaker changed", fields...)
	p.events.emit(event, map[string]any{"pool": p.Name(), "from": from.String(), "to": to.String(), "mode": p.Mode()})
}

// upstreamChanged logs a change of the breaker of an upstream.
func (p *Pool) upstreamChanged(upstream string, from, to offloader.BreakerState) {
	level := zapcore.InfoLevel
	if to == offloader.StateOpen {
		level = zapcore.WarnLevel
	}
	p.Logger().Log(level, "breaker changed", zap.String("upstream", upstream), zap.Stringer("from", from), zap.Stringer("to", to))
}

// saturated logs that the pool is saturated now and emits its event.
func (p *Pool) saturated() {
	p.Logger().Info("pool saturated: all permits are in use and a request waits")
	p.events.emit("offload.saturated", map[string]any{"pool": p.Name(), "mode": p.Mode()})
}

// logRejections logs a report about rejections.
func (p *Pool) logRejections(r rejectionReport) {
	r.write(p.Logger().With(zap.String("mode", p.Mode())))
}

// Logger returns the logger for lines about the pool, see [Logger].
func (p *Pool) Logger() *zap.Logger { return Logger().With(zap.String("pool", p.Name())) }

// Snapshot returns the pool's numbers. Before that it notes which runs go on without their
// clients. Rejections in mode shadow are not included.
func (p *Pool) Snapshot() offloader.Snapshot {
	for _, r := range p.Requests.All() {
		r.NoteDeparture()
	}
	s := p.Pool.Snapshot()
	s.Rejected, _ = p.mode.split(s.Rejected)
	return s
}

// SetShadow turns mode shadow on or off, in which the pool only decides.
func (p *Pool) SetShadow(on bool) {
	p.mode.set(on, func() map[offloader.Reason]uint64 { return p.Pool.Snapshot().Rejected })
}

// Mode is shadow or enforce.
func (p *Pool) Mode() string { return p.mode.String() }

// ShadowRejected returns the rejections of requests that were let through.
func (p *Pool) ShadowRejected() map[offloader.Reason]uint64 {
	_, shadow := p.mode.split(p.Pool.Snapshot().Rejected)
	return shadow
}

// Classes returns the numbers of the classes in a snapshot, none in a pool without classes.
func (p *Pool) Classes(s *offloader.Snapshot) []offloader.ClassCount {
	if len(p.Configured().Classes) == 0 { // all requests are of one class then
		return nil
	}
	return s.Classes
}

// Hold delays the answer of a rejected request by d, or until its client leaves or the pool
// drains. It returns how long it has blocked. It returns false at once if too many
// rejections are held.
func (p *Pool) Hold(client context.Context, d time.Duration) (time.Duration, bool) {
	return p.holds.hold(client, d)
}

// Held is the number of rejections that are held.
func (p *Pool) Held() int { return int(p.holds.now.Load()) }

// Drain drains the pool, as the engine does, and ends the holds.
func (p *Pool) Drain(ctx context.Context) error {
	p.holds.release()
	return p.Pool.Drain(ctx)
}

// EveryRequest lists all requests in the pool.
func (p *Pool) EveryRequest() []Request {
	all := p.Requests.All()
	for _, w := range p.Waiters() {
		if w.Ticket == nil {
			continue
		}
		if r, ok := w.Ticket.Caller.(Request); ok {
			all = append(all, r)
		}
	}
	return all
}

// forgetIfIdle removes a removed and empty pool from its successor's predecessors.
func (p *Pool) forgetIfIdle() {
	if s := p.successor.Load(); s != nil && p.gone.Load() && p.Wait(ended) == nil {
		s.Forget()
	}
}

// successorName returns the name of the pool that replaces this one, empty without one.
func (p *Pool) successorName() string {
	if s := p.successor.Load(); s != nil {
		return s.heir
	}
	return ""
}
