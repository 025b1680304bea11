// Package ready has the handler that reports to load balancers whether a backend can be
// reached. It only opens a connection, which the backend's operating system accepts, and
// sends no request: a backend whose workers are all busy is ready.
package ready

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
)

func init() {
	caddy.RegisterModule(Handler{})
	httpcaddyfile.RegisterHandlerDirective("offload_ready", parse)
	httpcaddyfile.RegisterDirectiveOrder("offload_ready", httpcaddyfile.Before, "invoke")
}

// Handler answers with status 200 while a backend accepts connections, and with 503 while
// none does, or while the process exits:
//
//	{
//		"match": [{"path": ["/ready"]}],
//		"handle": [{"handler": "offload_ready", "upstreams": ["127.0.0.1:8000"]}]
//	}
type Handler struct {
	// The addresses of the backends, as in `reverse_proxy`: one that takes a connection
	// is enough.
	Upstreams []string `json:"upstreams,omitempty"`

	// How long to wait for a connection. Default: 1s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	dials   []caddy.NetworkAddress
	exiting func() bool
}

const defaultTimeout = caddy.Duration(time.Second)

// CaddyModule returns the module's ID.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.offload_ready", New: func() caddy.Module { return new(Handler) }}
}

// Provision reads the addresses.
func (h *Handler) Provision(caddy.Context) error {
	h.exiting = caddy.Exiting
	h.Timeout = optionvalue.OrDefault(h.Timeout, defaultTimeout)
	if len(h.Upstreams) == 0 {
		return errors.New("upstreams is empty: want the address of a backend")
	}
	for _, upstream := range h.Upstreams {
		address, err := parseUpstream(upstream)
		if err != nil {
			return fmt.Errorf("upstream '%s': %w", upstream, err)
		}
		h.dials = append(h.dials, address)
	}
	return nil
}

// parseUpstream reads an address as reverse_proxy takes it: a host with a port, a URL, or
// a socket.
func parseUpstream(upstream string) (caddy.NetworkAddress, error) {
	if upstream == "" {
		return caddy.NetworkAddress{}, errors.New("an address is missing")
	}
	port := "80"
	if scheme, rest, ok := strings.Cut(upstream, "://"); ok {
		if scheme == "https" {
			port = "443"
		}
		upstream = rest
	}
	address, err := caddy.ParseNetworkAddressWithDefaults(upstream, "tcp", 0)
	if err != nil {
		return address, err
	}
	if !address.IsUnixNetwork() && address.StartPort == 0 {
		return caddy.ParseNetworkAddress(net.JoinHostPort(address.Host, port))
	}
	return address, nil
}

// ServeHTTP answers the question.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	status, text := http.StatusOK, "ready"
	if h.exiting() {
		status, text = http.StatusServiceUnavailable, "exiting"
	} else if err := h.reach(r.Context()); err != nil {
		status, text = http.StatusServiceUnavailable, err.Error()
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := io.WriteString(w, text+"\n")
	return err
}

// reach returns nil if a backend accepts a connection. The error contains no address,
// because any client may read it.
func (h *Handler) reach(ctx context.Context) error {
	for _, address := range h.dials {
		dialer := net.Dialer{Timeout: time.Duration(h.Timeout)}
		conn, err := dialer.DialContext(ctx, address.Network, address.JoinHostPort(0))
		if err == nil {
			_ = conn.Close()
			return nil
		}
	}
	return errors.New("the service takes no connections")
}

// parse reads the directive:
//
//	offload_ready [<matcher>] <upstream>...
func parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // directive
	handler := &Handler{Upstreams: h.RemainingArgs()}
	if len(handler.Upstreams) == 0 {
		return nil, h.Err("wrong argument count: 'offload_ready' takes the address of a backend, or several")
	}
	for _, upstream := range handler.Upstreams {
		if _, err := parseUpstream(upstream); err != nil {
			return nil, h.Errf("bad upstream '%s': %w", upstream, err)
		}
	}
	if h.NextBlock(0) {
		return nil, h.Errf("unexpected '%s': 'offload_ready' takes no block", h.Val())
	}
	return handler, nil
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
