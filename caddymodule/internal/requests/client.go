package requests

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// NetworkBits is the number of bits of an IPv6 address that identify a client's network.
// The client can choose the rest of its address freely.
const NetworkBits = 64

// ClientOf returns the origin of a request. Its address is determined, the client's address
// as Caddy determines it, or that of the connection.
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

// clientAt returns the client at an address, the zero value if host is no address, such as
// the path of a socket.
func clientAt(host, port string) (c offloader.Client) {
	address, ok := AddressOf(host)
	if !ok {
		return c
	}
	c.Address = address
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		c.Connection = uint16(n)
	}
	return c
}

// AddressOf returns the address in a text, or the network of an IPv6 address. It reports
// false if the text is none.
func AddressOf(text string) ([16]byte, bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return [16]byte{}, false
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		network, err := addr.Prefix(NetworkBits)
		if err != nil {
			return [16]byte{}, false // cannot happen: the address is long enough
		}
		addr = network.Addr()
	}
	return addr.As16(), true
}
