package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
)

// Transport replaces the transport of `reverse_proxy` in a configuration with `offload`.
// A run can leave the requests that it sends through it, and answer its client while the
// backend still works, and a request is sent again within bounds only. Other requests
// pass through. It is inserted automatically and needs no configuration.
type Transport struct {
	// The transport that does the work. Default: `http`.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	inner http.RoundTripper
	own   *reverseproxy.HTTPTransport // made here, nil if it was configured
}

// CaddyModule describes the module.
func (Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.offload", New: func() caddy.Module { return new(Transport) }}
}

// Provision loads the transport that does the work.
func (t *Transport) Provision(ctx caddy.Context) error {
	if t.TransportRaw == nil {
		t.own = new(reverseproxy.HTTPTransport)
		if err := t.own.Provision(ctx); err != nil {
			return fmt.Errorf("provisioning the default transport: %w", err)
		}
		t.inner = t.own
	} else {
		mod, err := ctx.LoadModule(t, "TransportRaw")
		if err != nil {
			return fmt.Errorf("loading the transport: %w", err)
		}
		t.inner = mod.(http.RoundTripper)
	}
	if h, ok := t.inner.(*reverseproxy.HTTPTransport); ok && h.Transport != nil {
		exchange.Bound(h.Transport)
	}
	return nil
}

// Cleanup closes idle connections. Caddy does it for a transport that was configured.
func (t *Transport) Cleanup() error {
	if t.own == nil {
		return nil
	}
	return t.own.Cleanup()
}

// RoundTrip sends a request. A run can leave it before the backend has answered.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return serving.RoundTrip(t.inner, r)
}

// The optional methods of a transport of reverse_proxy. Each calls the same method of the
// inner transport, or returns the value that reverse_proxy uses for a transport without it.

// TLSEnabled reports whether the transport speaks TLS.
func (t *Transport) TLSEnabled() bool {
	inner, ok := t.inner.(reverseproxy.TLSTransport)
	return ok && inner.TLSEnabled()
}

// EnableTLS makes the transport speak TLS.
func (t *Transport) EnableTLS(base *reverseproxy.TLSConfig) error {
	if inner, ok := t.inner.(reverseproxy.TLSTransport); ok {
		return inner.EnableTLS(base)
	}
	return nil
}

// ProxyProtocolEnabled reports whether connections begin with the PROXY protocol, so
// that each belongs to one client.
func (t *Transport) ProxyProtocolEnabled() bool {
	inner, ok := t.inner.(reverseproxy.ProxyProtocolTransport)
	return ok && inner.ProxyProtocolEnabled()
}

// OverrideHealthCheckScheme sets the scheme of active health checks.
func (t *Transport) OverrideHealthCheckScheme(base *url.URL, port string) {
	if inner, ok := t.inner.(reverseproxy.HealthCheckSchemeOverriderTransport); ok {
		inner.OverrideHealthCheckScheme(base, port)
	}
}

// RequiresContentLength reports whether bodies of unknown length must be buffered.
func (t *Transport) RequiresContentLength() bool {
	inner, ok := t.inner.(reverseproxy.ContentLengthRequiredTransport)
	return ok && inner.RequiresContentLength()
}

// DefaultBufferSizes are those for requests and responses, zero for no buffer.
func (t *Transport) DefaultBufferSizes() (request, response int64) {
	if inner, ok := t.inner.(reverseproxy.BufferedTransport); ok {
		return inner.DefaultBufferSizes()
	}
	return 0, 0
}

// RequestHeaderOps are operations on the header of each request, nil for none.
func (t *Transport) RequestHeaderOps() *headers.HeaderOps {
	if inner, ok := t.inner.(reverseproxy.RequestHeaderOpsTransport); ok {
		return inner.RequestHeaderOps()
	}
	return nil
}

var (
	_ caddy.Provisioner                                = (*Transport)(nil)
	_ caddy.CleanerUpper                               = (*Transport)(nil)
	_ http.RoundTripper                                = (*Transport)(nil)
	_ reverseproxy.TLSTransport                        = (*Transport)(nil)
	_ reverseproxy.ProxyProtocolTransport              = (*Transport)(nil)
	_ reverseproxy.HealthCheckSchemeOverriderTransport = (*Transport)(nil)
	_ reverseproxy.ContentLengthRequiredTransport      = (*Transport)(nil)
	_ reverseproxy.BufferedTransport                   = (*Transport)(nil)
	_ reverseproxy.RequestHeaderOpsTransport           = (*Transport)(nil)
)
