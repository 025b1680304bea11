// Package original keeps what a request was before the handlers behind "offload" changed it,
// so that they can get it once more. It knows what Caddy's handlers change in place: the
// header, the URL, the variables and the groups of routes that have had their turn. All else
// of a request is in the copy that they get, or each of them sets it by itself.
package original

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// groupsKey is Caddy's key for the groups of routes of which one route has served the
// request: the others are passed over.
const groupsKey caddy.CtxKey = "route_group"

// Request is a request as it was.
type Request struct {
	header http.Header
	url    url.URL
	vars   map[string]any // not in depth
	groups map[string]struct{}
}

// Of keeps what r is now.
func Of(r *http.Request) Request {
	return Request{r.Header.Clone(), *r.URL, maps.Clone(varsOf(r)), maps.Clone(groupsOf(r))}
}

// Restore makes r what it was. The maps and the URL stay the same ones, since placeholders
// read them. The URL and the header are written only if they differ.
func (o *Request) Restore(r *http.Request) {
	if *r.URL != o.url {
		*r.URL = o.url
	}
	if !maps.EqualFunc(r.Header, o.header, slices.Equal) {
		clear(r.Header)
		for name, values := range o.header {
			r.Header[name] = slices.Clone(values)
		}
	}
	replace(varsOf(r), o.vars)
	replace(groupsOf(r), o.groups)
}

// Apart returns r with a copy of its variables, for a transport: that may read them when the
// request has ended, since it goes on to make a connection that it has no use for then.
func Apart(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, maps.Clone(varsOf(r))))
}

// replace makes dst equal to src.
func replace[V any](dst, src map[string]V) {
	clear(dst)
	maps.Copy(dst, src)
}

func varsOf(r *http.Request) map[string]any {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	return vars
}

func groupsOf(r *http.Request) map[string]struct{} {
	groups, _ := r.Context().Value(groupsKey).(map[string]struct{})
	return groups
}
