package progress

import (
	"context"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobprogress"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Sink takes the reports about a run. It keeps the last one as long as the run is no attempt of
// a job. Its zero value is ready.
type Sink struct {
	mu   sync.Mutex
	to   func(jobs.Progress) // nil before To; guarded by mu
	last jobs.Progress       // its time is zero without a report; guarded by mu
}

// To makes reports go to an attempt: the one that is kept, and all later ones.
func (s *Sink) To(report func(jobs.Progress)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = report
	if !s.last.At.IsZero() {
		report(s.last)
	}
}

// Report takes a report. taken is false if it is only kept.
func (s *Sink) Report(p jobs.Progress) (taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to == nil {
		s.last = p
		return false
	}
	s.to(p)
	return true
}

// Within returns a context for the run, whose handlers in Caddy can report by it.
func (s *Sink) Within(ctx context.Context) context.Context {
	return jobprogress.With(ctx, func(p jobs.Progress) { s.Report(p) })
}

// Catch returns a writer for the handlers of a run. It takes the informational responses with a
// report out of the response to w, once the reports go to an attempt.
func Catch(w http.ResponseWriter, s *Sink) http.ResponseWriter {
	return &catcher{caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, s}
}

type catcher struct {
	caddyhttp.ResponseWriterWrapper
	sink *Sink
}

// WriteHeader may be called for an informational response from another goroutine than that of
// the run, as the transports of Caddy do.
func (c *catcher) WriteHeader(status int) {
	if status < http.StatusOK && status != http.StatusSwitchingProtocols {
		if p, ok := FromField(c.Header()); ok && c.sink.Report(p) {
			return
		}
	}
	c.ResponseWriter.WriteHeader(status)
}
