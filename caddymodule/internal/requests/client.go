package requests

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// networkBits of an IPv6 address name a client's network, which chooses the rest of its
// addresses as it likes.
const networkBits = 64

// ClientOf returns the origin of a request: the client's address as Caddy determines it, or
// that of the connection.
func ClientOf(r *http.Request, determined string) offloader.Client {
	host, port, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host, port = r.RemoteAddr, ""
	}
	if determined != "" {
		host = determined
	}
	return clientAt(host, port)
}

// clientAt returns the zero value for a text that is no address, such as the path of a
// socket.
func clientAt(host, port string) (c offloader.Client) {
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
