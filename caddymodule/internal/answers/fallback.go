package answers

import (
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Routes of the site may answer in place of an Answer: those of handle_reject, and error
// routes. Before they run, Describe has set header fields such as Retry-After. If the
// routes send a successful answer, such as a cached page, these fields must not ask the
// client to come back.

// leftError is an error for the error routes, together with the Answer that they replace.
// The Answer is not in a variable of the request, since the rest of a run that has timed
// out may read variables at the same time.
type leftError struct {
	error
	answer Answer
}

// Unwrap returns the error itself.
func (e *leftError) Unwrap() error { return e.error }

// By lets routes answer in place of a. If they do not answer, a is sent.
func (a Answer) By(routes caddyhttp.RouteList, w http.ResponseWriter, r *http.Request) error {
	f := a.fallback(w)
	err := f.serve(routes.Compile(caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		f.begun = true
		a.Say(w, r)
		return nil
	})), r)
	if err != nil {
		return a.Leave(err)
	}
	return nil
}

// Leave returns err for the error routes of the server, which then answer in place of a.
func (a Answer) Leave(err error) error {
	return wrap(err, func(err error) error { return &leftError{err, a} })
}

// restError is an error for the error routes, with a function to call after they have
// answered.
type restError struct {
	error
	rest func(http.ResponseWriter)
}

// Unwrap returns the error itself.
func (e *restError) Unwrap() error { return e.error }

// Then returns err for the error routes of the server. rest is called after their answer,
// before the server ends it.
func Then(err error, rest func(http.ResponseWriter)) error {
	return wrap(err, func(err error) error { return &restError{err, rest} })
}

// wrap wraps the error within a HandlerError, since Caddy only looks for a HandlerError at
// the outside.
func wrap(err error, by func(error) error) error {
	handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err)
	if !ok || handlerErr.Err == nil {
		return err
	}
	handlerErr.Err = by(handlerErr.Err)
	return handlerErr
}

// ErrorRoutes is the handler in front of the error routes of a server.
type ErrorRoutes struct{}

// ServeHTTP runs the error routes.
func (ErrorRoutes) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	cause, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	err := serveErrors(w, r, cause, next)
	if e, ok := errors.AsType[*restError](cause); ok && err == nil {
		e.rest(w)
	}
	return err
}

func serveErrors(w http.ResponseWriter, r *http.Request, cause error, next caddyhttp.Handler) error {
	left, ok := errors.AsType[*leftError](cause)
	if !ok {
		return next.ServeHTTP(w, r)
	}
	return left.answer.fallback(w).serve(next, r)
}

// fallback is the client's writer for such routes. When the head is sent, it removes header
// fields of the Answer that are wrong for the answer of the routes.
type fallback struct {
	*caddyhttp.ResponseWriterWrapper
	ours  http.Header // what Describe has set
	quiet string      // the member of Proxy-Status for an answer that is no error
	begun bool
}

func (a Answer) fallback(w http.ResponseWriter) *fallback {
	f := &fallback{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, ours: make(http.Header)}
	a.Describe(f.ours)
	if a.Proxy != "" {
		f.quiet = a.member(false)
	}
	return f
}

func (f *fallback) serve(routes caddyhttp.Handler, r *http.Request) error {
	err := routes.ServeHTTP(f, r)
	if err == nil {
		f.begin(http.StatusOK) // the server sends this head if there is none
	}
	return err
}

// begin is called before a head is sent. It ignores heads with a status 1xx, except that of
// an upgrade, which is final.
func (f *fallback) begin(status int) {
	if f.begun || (status < 200 && status != http.StatusSwitchingProtocols) {
		return
	}
	f.begun = true
	good := status < 400
	f.settle(good, retryField, retryMsField)
	f.settle(good, shouldRetryField)
	if good && f.quiet != "" {
		f.replaceMember()
	}
}

// settle removes the Answer's values of fields that belong together: if the routes answer
// successfully, or have set one of these fields themselves.
func (f *fallback) settle(good bool, fields ...string) {
	h := f.Header()
	rest := make([][]string, len(fields))
	theirs := false
	for i, name := range fields {
		rest[i] = h[name]
		if ours := f.ours[name]; len(ours) > 0 && len(rest[i]) > 0 && rest[i][0] == ours[0] {
			rest[i] = rest[i][1:]
		}
		theirs = theirs || len(rest[i]) > 0
	}
	if !good && !theirs {
		return
	}
	for i, name := range fields {
		if len(rest[i]) > 0 {
			h[name] = rest[i]
		} else {
			delete(h, name)
		}
	}
}

// replaceMember rewrites the entry of this server in Proxy-Status: it keeps the reason, but
// as a detail and not as an error.
func (f *fallback) replaceMember() {
	members := f.Header()[proxyField]
	if i := slices.Index(members, f.ours.Get(proxyField)); i >= 0 {
		members = slices.Clone(members)
		members[i] = f.quiet
		f.Header()[proxyField] = members
	}
}

// WriteHeader passes a head on.
func (f *fallback) WriteHeader(status int) {
	f.begin(status)
	f.ResponseWriterWrapper.WriteHeader(status)
}

// Write passes a piece of the body on.
func (f *fallback) Write(p []byte) (int, error) {
	f.begin(http.StatusOK)
	return f.ResponseWriterWrapper.Write(p)
}

// ReadFrom passes the body on, through the kernel where possible.
func (f *fallback) ReadFrom(r io.Reader) (int64, error) {
	f.begin(http.StatusOK)
	return f.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError flushes the head and the body so far.
func (f *fallback) FlushError() error {
	f.begin(http.StatusOK)
	return http.NewResponseController(f.ResponseWriter).Flush()
}

var (
	_ http.ResponseWriter         = (*fallback)(nil)
	_ io.ReaderFrom               = (*fallback)(nil)
	_ caddyhttp.MiddlewareHandler = ErrorRoutes{}
)
