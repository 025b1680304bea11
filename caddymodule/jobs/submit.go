package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/prefer"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/idempotency"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/message"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/problem"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// submission is a request that may become a job. It belongs to the goroutine of the
// connection.
type submission struct {
	*Route
	w       http.ResponseWriter
	r       *http.Request
	prefers prefer.Preferences
	came    time.Time

	read bool   // the body was read, or could not be
	key  string // empty without one
	wait time.Duration
	body *caddymodule.BodyInMemory
	job  jobs.Submission // what its run needs of it
}

// serve answers the request. All rejections come before anything is accepted.
func (s *submission) serve() error {
	s.wait = s.waits()
	if !s.readKey() || !s.readHook() || !s.hasRoom() || !s.readBody() {
		return nil
	}
	s.describe()
	if s.key != "" || s.wait == 0 {
		defer s.body.Close()
		return s.store()
	}
	return s.tryNow()
}

// waits returns how long the client waits for the response.
func (s *submission) waits() time.Duration {
	if s.prefers.Waits {
		return min(s.prefers.Wait, time.Duration(optionvalue.OrDefault(s.LongestWait, defaultLongestWait)))
	}
	return time.Duration(optionvalue.OrDefault(s.Wait, defaultWait))
}

// readKey reads the idempotency key.
func (s *submission) readKey() bool {
	if s.Idempotency == off {
		return true
	}
	key, err := idempotency.Of(s.r.Header)
	required := s.Idempotency == keysRequired || s.Idempotency == keysStrict
	switch {
	case errors.Is(err, idempotency.ErrMissing) && required:
		return s.reject(problem.Problem{Type: problem.KeyMissing})
	case errors.Is(err, idempotency.ErrBad):
		return s.reject(problem.Problem{Type: problem.KeyBad})
	}
	s.key = key
	return true
}

// readHook reads the webhook of the job.
func (s *submission) readHook() bool {
	if s.hook == nil {
		return true
	}
	hook, err := s.hook.Hook(s.r.Header)
	if err != nil {
		return s.reject(problem.Problem{Type: problem.BadRequest, Detail: err.Error()})
	}
	s.job.Hook = hook
	return true
}

// hasRoom rejects a job before its body is read, if there is no room for it now. A request that
// runs at once needs none.
func (s *submission) hasRoom() bool {
	if s.key == "" && s.wait > 0 {
		return true
	}
	service, err := s.app.service()
	if err == nil && s.key == "" { // a known key needs no room
		err = service.Check(s.r.Context(), s.host.Name(), s.tenant(), max(s.r.ContentLength, 0))
	}
	if err != nil {
		s.fail(err)
		return false
	}
	return true
}

// readBody reads the body of the request.
func (s *submission) readBody() bool {
	s.read = true
	limit := optionvalue.OrDefault(s.MaxBody, defaultMaxBody)
	body, err := caddymodule.TakeBody(s.r.Context(), s.w, s.r, caddymodule.BodyOptions{Handler: "jobs", Limit: limit})
	switch {
	case err == nil:
		s.body = body
		return true
	case s.r.Context().Err() != nil:
		return false // the client has left
	case errors.Is(err, spool.ErrTooLarge):
		return s.reject(problem.Problem{Type: problem.BodyTooLarge, More: map[string]any{"limit": limit}})
	case errors.Is(err, spool.ErrFull):
		return s.reject(problem.Problem{Type: problem.StoreFull})
	case requestbody.IsTooSlow(err):
		return s.reject(problem.Problem{Type: problem.BodyBroken, Detail: "The body of the request came too slowly."})
	}
	return s.reject(problem.Problem{Type: problem.BodyBroken})
}

// reject answers with a problem, and returns false.
func (s *submission) reject(p problem.Problem) bool {
	p.RetryAfter = max(p.RetryAfter, s.retryAfter(1))
	if !s.read {
		bridge.LeaveUpload(s.w, s.r)
	}
	p.Write(s.w)
	return false
}

// describe makes the job of the request, as far as its run needs it.
func (s *submission) describe() {
	s.job.ID, s.job.Route, s.job.Tenant = jobs.NewID(s.came), s.host.Name(), s.tenant()
	s.job.Request, s.job.Trace = message.RequestOf(s.r, s.kept), message.TraceOf(s.r)
	s.job.Repeatable = s.AtLeastOnce || s.key != "" || message.Idempotent(s.r.Method)
}

// accept stores the job, by a method of the service. In a trace it is the producer of the
// attempts.
func (s *submission) accept(
	ctx context.Context, service *jobs.Service, by func(context.Context, jobs.Submission) (jobs.Accepted, error),
) (jobs.Accepted, error) {
	job, err := s.complete(ctx, service)
	if err != nil {
		return jobs.Accepted{}, err
	}
	span := message.BeginAccept(s.r, job.ID)
	job.Trace = span.Parent
	accepted, err := by(ctx, job)
	span.End(err)
	return accepted, err
}

// complete returns the job as it is stored.
func (s *submission) complete(ctx context.Context, service *jobs.Service) (job jobs.Submission, err error) {
	job = s.job
	job.Owner, job.Policy = s.owner.Of(s.r), s.rules
	if s.key != "" {
		job.Key = &jobs.Key{
			Hash:        idempotency.Scope{Tenant: job.Tenant, Route: job.Route, Owner: job.Owner}.Hash(s.key),
			Fingerprint: idempotency.Fingerprint(s.r, sha256.Sum256(s.body.Bytes)),
			Until:       s.came.Add(time.Duration(optionvalue.OrDefault(s.KeyTTL, defaultKeyTTL))),
		}
	}
	job.Body, err = s.stored(ctx, service)
	return job, err
}

// tenant returns the client that the job counts for.
func (s *submission) tenant() string {
	if s.Tenant != "" {
		if repl, ok := s.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			return repl.ReplaceAll(s.Tenant, "")
		}
	}
	if key := s.host.Key(s.r); key != "" {
		return key
	}
	return requests.DeterminedClient(s.r)
}

// store stores the job before it runs, and waits for its response.
func (s *submission) store() error {
	service, err := s.app.service()
	if err != nil {
		s.fail(err)
		return nil
	}
	accepted, err := s.accept(s.r.Context(), service, service.Accept)
	switch {
	case err != nil:
		s.fail(err)
	case accepted.Earlier && s.Idempotency == keysStrict && !accepted.View.State.Terminal():
		s.w.Header().Set("Location", s.path(accepted.View.ID))
		s.reject(problem.Problem{Type: problem.KeyInUse})
	default:
		return s.await(service, accepted)
	}
	return nil
}

// stored returns the body of the request in the store.
func (s *submission) stored(ctx context.Context, service *jobs.Service) (jobs.Body, error) {
	if len(s.body.Bytes) <= jobs.InlineBytes {
		// The memory goes back to its budget when the body is closed.
		return jobs.Body{Inline: bytes.Clone(s.body.Bytes), Size: int64(len(s.body.Bytes))}, nil
	}
	w, err := service.NewBody(ctx)
	if err != nil {
		return jobs.Body{}, err
	}
	if _, err := w.Write(s.body.Bytes); err != nil {
		w.Discard()
		return jobs.Body{}, err
	}
	return w.End()
}

// fail answers with the problem of an error.
func (s *submission) fail(err error) {
	if s.r.Context().Err() != nil {
		return // the client has left
	}
	p := problem.Of(err)
	if p.Type == problem.Internal {
		s.host.Logger().Error("a job was not accepted", zap.Error(err))
	}
	s.reject(p)
}
