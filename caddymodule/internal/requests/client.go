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

// ClientOf returns where a request comes from. It takes the client's address as Caddy has determined it, if it has.
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

// clientAt is the zero value for what is no address, such as a socket of the file system.
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
