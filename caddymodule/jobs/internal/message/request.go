package message

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// RequestOf returns a request as it is stored, without its body. keep is that of
// [RequestFields].
func RequestOf(r *http.Request, keep []string) jobs.Request {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return jobs.Request{
		Method: r.Method, URI: r.URL.RequestURI(), Host: r.Host, Scheme: scheme, Remote: r.RemoteAddr,
		Header: RequestFields(r.Header, keep),
	}
}

// Sending is a stored request that is sent to its upstream.
type Sending struct {
	Request jobs.Request
	ID      jobs.ID
	// Repeatable: the upstream may get it more than once. Then it gets an idempotency key.
	Repeatable bool
	Trace      string
}

// Build returns the request for the handlers, without a body, with the state that Caddy's
// handlers expect. The handlers in front of the route have run when the client came, and do
// not run again.
func (s Sending) Build(ctx context.Context, w http.ResponseWriter, server *caddyhttp.Server) (*http.Request, error) {
	u, err := url.ParseRequestURI(s.Request.URI)
	if err != nil {
		return nil, fmt.Errorf("reading the URI of a stored request: %w", err)
	}
	r := &http.Request{
		Method: s.Request.Method, URL: u, RequestURI: s.Request.URI, Host: s.Request.Host, RemoteAddr: s.Request.Remote,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: Header(s.Request.Header), Body: http.NoBody,
	}
	if s.Request.Scheme == "https" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: s.Request.Host}
	}
	r.Header.Set(JobID, s.ID.String())
	if s.Trace != "" {
		r.Header.Set(traceParent, s.Trace)
	}
	// Transports send a request again by themselves if it has this field, so others must not
	// have it.
	if s.Repeatable && r.Header.Get(IdempotencyKey) == "" {
		r.Header.Set(IdempotencyKey, s.ID.String())
	}
	return caddyhttp.PrepareRequest(r.WithContext(ctx), caddy.NewReplacer(), w, server), nil
}

// Number sets the number of the attempt in the request of one.
func Number(r *http.Request, attempt int) { r.Header.Set(Attempt, strconv.Itoa(attempt)) }

// Idempotent reports whether requests with this method may be sent more than once.
func Idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
