// Package deadline computes the time that a request may use in all: its upload, its wait,
// its run and all resends together. The package uses neither runs nor pools.
package deadline

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/grpccall"
)

// Rule has the options of a route that limit the time of a request. The zero value is no
// limit.
type Rule struct {
	// MaxTime is the longest time from the arrival of a request to the end of its run. Zero:
	// no limit.
	MaxTime time.Duration
	// Client is a text with placeholders, whose value is the time that the client allows.
	// Empty: clients set no limit.
	Client string
	// Header is the name of the header field that sends the rest of the time to the
	// backend. Empty: no such field.
	Header string
}

// Check returns an error for an invalid value of the option deadline. An empty value is
// valid: the option is not set.
func Check(text string) error {
	open := strings.IndexByte(text, '{')
	if text == "" || open >= 0 && strings.IndexByte(text[open:], '}') > 1 {
		return nil
	}
	if _, ok := Parse(text); ok {
		return fmt.Errorf("bad deadline value '%s': want a placeholder whose value the client sets, such as {http.request.header.Request-Timeout}; a fixed time is 'max_time %s'", text, text)
	}
	return fmt.Errorf("bad deadline value '%s': want a placeholder whose value the client sets, such as {http.request.header.Request-Timeout}", text)
}

// Source is the origin of a limit.
type Source uint8

const (
	// Route: the limit is max_time of the route.
	Route Source = iota + 1
	// Client: the client has set the limit.
	Client
)

// String returns the option that the limit comes from.
func (s Source) String() string {
	switch s {
	case Route:
		return "max_time"
	case Client:
		return "deadline"
	}
	return ""
}

// Limit is the time that one request may use. The zero value is no limit.
type Limit struct {
	// End is the moment at which the time is over.
	End time.Time
	// Allowed is the time from the arrival of the request to End.
	Allowed time.Duration
	// By is the origin of the limit.
	By Source
}

// Any reports whether there is a limit.
func (l Limit) Any() bool { return l.By != 0 }

// Of returns the limit of a request that came at that time: the shorter of the route's and
// the client's limit. The client's time began at asked, when the request came to the
// outermost route. unreadable is a value of the client that was ignored because it cannot
// be parsed, empty without one.
func (r *Rule) Of(req *http.Request, came, asked time.Time) (l Limit, unreadable string) {
	if r.MaxTime > 0 {
		l = Limit{Allowed: r.MaxTime, By: Route}
	}
	if r.Client != "" {
		unreadable = l.shorten(r.Client, req, came.Sub(asked))
	}
	if l.Any() {
		l.End = came.Add(l.Allowed)
	}
	return l, unreadable
}

// shorten applies the time that the client allows, less the time used already. It returns a
// value of the client that cannot be parsed.
func (l *Limit) shorten(text string, req *http.Request, used time.Duration) (unreadable string) {
	if value := valueOf(text, req); value != "" {
		d, ok := Parse(value)
		if !ok {
			unreadable = value
		}
		l.atMost(d-used, ok)
	}
	d, ok := grpccall.Timeout(req.Header)
	l.atMost(d-used, ok)
	d, ok = PreferredWait(req.Header)
	l.atMost(d-used, ok)
	return unreadable
}

// atMost applies a limit of the client, if there is one.
func (l *Limit) atMost(d time.Duration, ok bool) {
	if ok && (!l.Any() || d < l.Allowed) {
		l.Allowed, l.By = min(max(d, 0), longest), Client
	}
}

// valueOf returns the text with the values of its placeholders, or nothing if they have none.
func valueOf(text string, req *http.Request) string {
	repl, ok := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	found := false
	value, err := repl.ReplaceFunc(text, func(_ string, v any) (any, error) {
		found = found || caddy.ToString(v) != ""
		return v, nil
	})
	if err != nil || !found {
		return ""
	}
	return value
}
