// Package problem writes the answers to requests about jobs that are not done as asked: all
// of them are problem documents by RFC 9457. The types are a closed list, which
// docs/jobs.md shows.
package problem

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Type is one of the types of this package.
type Type struct {
	// Reason is the identifier for programs, and the end of the URI of the type.
	Reason string
	Status int
	// Later: the same request may be served at a later time.
	Later bool
	// Detail is a sentence for people.
	Detail string
}

// namespace begins the URI of each type.
const namespace = "urn:caddy-offload:jobs:"

// The types of submissions.
var (
	KeyMissing = add(Type{
		Reason: "idempotency_key_missing", Status: http.StatusBadRequest,
		Detail: "This service takes requests with a field Idempotency-Key only.",
	})
	KeyBad = add(Type{
		Reason: "idempotency_key_bad", Status: http.StatusBadRequest,
		Detail: "The field Idempotency-Key must have one value of 1 to 255 printable characters.",
	})
	KeyReused = add(Type{
		Reason: "idempotency_key_reused", Status: http.StatusUnprocessableEntity,
		Detail: "This idempotency key was sent with another request before.",
	})
	KeyInUse = add(Type{
		Reason: "idempotency_key_in_use", Status: http.StatusConflict, Later: true,
		Detail: "The first request with this idempotency key has not ended.",
	})
	BodyTooLarge = add(Type{
		Reason: "body_too_large", Status: http.StatusRequestEntityTooLarge,
		Detail: "The body of the request is too large for a job.",
	})
	BodyBroken = add(Type{
		Reason: "body_incomplete", Status: http.StatusBadRequest,
		Detail: "The body of the request did not arrive completely.",
	})
	TenantLimit = add(Type{
		Reason: "tenant_limit", Status: http.StatusTooManyRequests, Later: true,
		Detail: "You have too many jobs already.",
	})
	QueueFull = add(Type{
		Reason: "queue_full", Status: http.StatusServiceUnavailable, Later: true,
		Detail: "The service is busy, and its queue of jobs is full.",
	})
	StoreFull = add(Type{
		Reason: "store_full", Status: http.StatusServiceUnavailable, Later: true,
		Detail: "There is no room for another job at the moment.",
	})
	StoreUnavailable = add(Type{
		Reason: "store_unavailable", Status: http.StatusServiceUnavailable, Later: true,
		Detail: "Jobs cannot be stored at the moment.",
	})
	Stopping = add(Type{
		Reason: "stopping", Status: http.StatusServiceUnavailable, Later: true,
		Detail: "The service ends or starts again, and takes no jobs meanwhile.",
	})
)

// The types of requests about a job.
var (
	UnknownJob = add(Type{
		Reason: "unknown_job", Status: http.StatusNotFound,
		Detail: "There is no such job, or it was removed, or it is not yours.",
	})
	NotEnded = add(Type{
		Reason: "not_ended", Status: http.StatusConflict, Later: true,
		Detail: "The job has not ended yet.",
	})
	Ended = add(Type{
		Reason: "ended", Status: http.StatusConflict,
		Detail: "The job has ended already.",
	})
	NoResult = add(Type{
		Reason: "no_result", Status: http.StatusBadGateway,
		Detail: "The job has ended without an answer of the service.",
	})
	NoResultInTime = add(Type{
		Reason: "no_result_in_time", Status: http.StatusGatewayTimeout,
		Detail: "The job has ended without an answer of the service, which took too long.",
	})
	NoIdentity = add(Type{
		Reason: "no_identity", Status: http.StatusForbidden,
		Detail: "Jobs are listed for clients with an identity only.",
	})
	NoLinks = add(Type{
		Reason: "no_links", Status: http.StatusForbidden,
		Detail: "This service makes no signed links.",
	})
	Changed = add(Type{
		Reason: "changed", Status: http.StatusPreconditionFailed,
		Detail: "The job has changed since you have read it.",
	})
	Cancelled = add(Type{
		Reason: "cancelled", Status: http.StatusGone,
		Detail: "The job was cancelled.",
	})
	Expired = add(Type{
		Reason: "expired", Status: http.StatusGone,
		Detail: "The job was not run within its time.",
	})
	TooManyReaders = add(Type{
		Reason: "too_many_readers", Status: http.StatusTooManyRequests, Later: true,
		Detail: "Too many requests wait for this job.",
	})
	BadRequest = add(Type{
		Reason: "bad_request", Status: http.StatusBadRequest,
		Detail: "The request is not understood.",
	})
	BadMethod = add(Type{
		Reason: "bad_method", Status: http.StatusMethodNotAllowed,
		Detail: "This resource does not have this method.",
	})
	BadRange = add(Type{
		Reason: "bad_range", Status: http.StatusRequestedRangeNotSatisfiable,
		Detail: "The result has no such bytes.",
	})
	Internal = add(Type{
		Reason: "internal", Status: http.StatusInternalServerError,
		Detail: "The request about the job was not done.",
	})
)

// types are all types, in the order of this file. It is written at the start alone.
var types []Type

func add(t Type) Type {
	types = append(types, t)
	return t
}

// Types returns all types.
func Types() []Type { return append([]Type(nil), types...) }

// URI identifies the type.
func (t Type) URI() string { return namespace + t.Reason }

// typeOf returns the type for an error of package jobs.
func typeOf(err error) Type {
	for known, t := range map[error]Type{
		jobs.ErrQueueFull: QueueFull, jobs.ErrTenantLimit: TenantLimit, jobs.ErrKeyReused: KeyReused, jobs.ErrStopping: Stopping,
		jobs.ErrEngineClosed: Stopping, jobs.ErrFull: StoreFull, jobs.ErrBroken: StoreUnavailable,
		jobs.ErrUnknown: UnknownJob, jobs.ErrBadID: UnknownJob,
		jobs.ErrTerminal: Ended, jobs.ErrNotTerminal: NotEnded, jobs.ErrNoResult: NoResult,
	} {
		if errors.Is(err, known) {
			return t
		}
	}
	return Internal
}

// Problem is one answer.
type Problem struct {
	Type Type
	// Detail replaces that of the type, unless it is empty.
	Detail string
	// RetryAfter is sent as whole seconds, 1 at least, if the type is one of a request that
	// may be served later.
	RetryAfter time.Duration
	// More are further members of the document, by name.
	More map[string]any
}

// overLimit has the sentence for each limit of a tenant.
var overLimit = map[string]string{
	"queue": "You have too many jobs that wait.",
	"bytes": "Your jobs take too much of the store: delete some, or wait until they expire.",
	"rate":  "You submit jobs too fast.",
}

// Of returns the answer for an error of package jobs. That of a tenant's limit names it.
func Of(err error) Problem {
	p := Problem{Type: typeOf(err)}
	if quota, ok := errors.AsType[*jobs.QuotaError](err); ok {
		p.RetryAfter, p.More, p.Detail = quota.RetryAfter, map[string]any{"limit": quota.Limit}, overLimit[quota.Limit]
	}
	return p
}

// Write answers a request.
func (p Problem) Write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	document := map[string]any{
		"type": p.Type.URI(), "title": http.StatusText(p.Type.Status), "status": p.Type.Status,
		"detail": p.Type.Detail, "reason": p.Type.Reason,
	}
	if p.Detail != "" {
		document["detail"] = p.Detail
	}
	if p.Type.Later {
		seconds := max(1, int(math.Ceil(p.RetryAfter.Seconds())))
		h.Set("Retry-After", strconv.Itoa(seconds))
		document["retry_after"] = seconds
	}
	maps.Copy(document, p.More)
	text, err := json.Marshal(document)
	if err != nil {
		panic(err) // cannot happen: members are texts, numbers and records
	}
	w.WriteHeader(p.Type.Status)
	_, _ = w.Write(append(text, '\n')) // a client that has left gets no answer
}
