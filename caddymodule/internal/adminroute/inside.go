package adminroute

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Part serves the requests of a part of the admin endpoint.
type Part func(http.ResponseWriter, *http.Request) error

// Plugin is a part of another plugin.
type Plugin struct {
	Serve Part
	// Present reports whether the process has anything for it to show now.
	Present func() bool
}

// plugins has the parts of other plugins by the first segment of their paths. It is written
// before main begins.
var plugins = make(map[string]Plugin)

// Plug makes the part of another plugin known to [Do], such as "jobs" for the paths
// /offload/jobs/...: the core imports no such plugin. Call it from an init function.
func Plug(segment string, p Plugin) { plugins[segment] = p }

// Present reports whether there is such a part with anything to show.
func Present(segment string) bool {
	p, ok := plugins[segment]
	return ok && p.Present()
}

// Do performs a request to a path below the prefix without a connection, for other parts of
// this process, and returns the body of the answer. core serves the paths of no other
// plugin. An error has the status and the text of the answer: [caddy.APIError].
func Do(ctx context.Context, core Part, method, path string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, Prefix+path, bytes.NewReader(body))
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("making the request: %w", err)}
	}
	segment, _, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), Prefix), "/")
	part := core
	if p, ok := plugins[segment]; ok {
		part = p.Serve
	}
	var w kept
	err = part(&w, r)
	if rejected, ok := errors.AsType[caddy.APIError](err); ok {
		return nil, rejected
	}
	return w.Bytes(), err
}

// kept is a response writer that keeps the body alone: an error has its status.
type kept struct{ bytes.Buffer }

func (*kept) Header() http.Header { return make(http.Header) }
func (*kept) WriteHeader(int)     {}
