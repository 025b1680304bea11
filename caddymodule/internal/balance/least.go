package balance

import (
	"encoding/json"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Least selects the upstream with the least load. It is the default `fallback` of an
// `affinity`: a client without one gets the upstream to which its run is bound already, and
// need not wait for another.
type Least struct{}

// CaddyModule describes the module.
func (Least) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.selection_policies.offload_least", New: func() caddy.Module { return new(Least) }}
}

// Select returns the upstream with the least load, nil if none is available.
func (Least) Select(upstreams reverseproxy.UpstreamPool, r *http.Request, _ http.ResponseWriter) *reverseproxy.Upstream {
	all := candidatesOf(upstreams, replacerOf(r))
	if b, ok := serving.BinderOf(r); ok && len(all) > 0 {
		if name, ok := b.Bind(r, offloader.UpstreamChoice{Among: all.usable()}, 0); ok {
			return all.find(name)
		}
	}
	return all.leastLoaded(nil)
}

// UnmarshalCaddyfile reads the policy, which has no options.
func (Least) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // name
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

// withFallback gives an affinity that has none the fallback to Least, if it is one that Caddy
// gives a random fallback else.
func withFallback(affinity json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(affinity, &fields) != nil || fields["fallback"] != nil {
		return affinity // its module returns the error
	}
	switch string(fields["policy"]) {
	case `"cookie"`, `"header"`, `"query"`:
		fields["fallback"] = json.RawMessage(`{"policy":"offload_least"}`)
	default:
		return affinity
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return affinity // cannot happen: it came from JSON
	}
	return text
}

var (
	_ reverseproxy.Selector = Least{}
	_ caddyfile.Unmarshaler = Least{}
)
