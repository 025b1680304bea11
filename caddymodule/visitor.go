package caddymodule

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// networkBits of an IPv6 address name a client's network, which chooses the rest of its
// addresses as it likes.
const networkBits = 64

// Client says where the request comes from, for the turn that its pool keeps when it is
// refused: by the client's address as Caddy determines it, so trusted_proxies counts.
func (run *run) Client() offloader.Client { return clientOfRequest(run.client, run.who.client) }

// clientOfRequest knows the client's address as Caddy has determined it, if it has.
func clientOfRequest(r *http.Request, determined string) offloader.Client {
	host, port, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host, port = r.RemoteAddr, ""
	}
	if determined != "" {
		host = determined
	}
	return clientOf(host, port)
}

// Owner says whose the request's body and its response are, for their shares of what
// the process may keep: the same client's, in this pool.
func (run *run) Owner() spool.Owner {
	return spool.Owner{Client: run.Client().Address, Pool: run.route.Pool.Name()}
}

// clientOf is the zero value for what is no address, such as a socket of the file system.
func clientOf(host, port string) (c offloader.Client) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return c
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		network, err := addr.Prefix(networkBits)
		if err != nil {
			return c // cannot happen: the address is long enough
		}
		addr = network.Addr()
	}
	c.Address = addr.As16()
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		c.Connection = uint16(n)
	}
	return c
}

var (
	_ offloader.Visitor = (*run)(nil)
	_ spool.Owned       = (*run)(nil)
)
