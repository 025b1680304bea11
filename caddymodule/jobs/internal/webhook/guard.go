package webhook

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// errAddress: the address of an endpoint is private, local or special.
var errAddress = errors.New("its address is not public")

// guard decides which addresses may be connected to. Otherwise a client could reach servers
// behind this one through it (CWE-918).
type guard struct {
	allowed []netip.Prefix // as exceptions
	// own returns the addresses of this machine. Only tests set it.
	own func() ([]net.Addr, error)
}

// control is called for each connection between the lookup of the name and the connect. So it
// sees the address that is used, whatever another lookup of the name has returned.
func (g *guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return errAddress
	}
	return g.check(to.Addr())
}

// check returns errAddress for an address that may not be connected to.
func (g *guard) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range g.allowed {
		if prefix.Contains(addr) {
			return nil
		}
	}
	if nat64.Contains(addr) {
		addr = last4(addr)
	}
	if !public(addr) || g.isOwn(addr) {
		return errAddress
	}
	return nil
}

// isOwn reports whether it is an address of this machine. They are read each time, because
// they change.
func (g *guard) isOwn(addr netip.Addr) bool {
	own := g.own
	if own == nil {
		own = net.InterfaceAddrs
	}
	all, err := own()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap().WithZone("") == addr
	})
}

// public reports whether an address belongs to a host in the Internet, by the registries of
// special addresses (RFC 6890 and its successors). Addresses of version 6 that hold one of
// version 4 reach the latter: those of NAT64 are seen through by check, 6to4 and Teredo are
// obsolete and special, and others are outside of 2000::/3.
func public(addr netip.Addr) bool {
	special := special6
	if addr.Is4() {
		special = special4
	} else if !unicast6.Contains(addr) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// last4 returns the last four bytes of an address of version 6.
func last4(addr netip.Addr) netip.Addr {
	all := addr.As16()
	return netip.AddrFrom4([4]byte(all[12:]))
}

var (
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
	unicast6 = netip.MustParsePrefix("2000::/3")

	special4 = prefixes(
		"0.0.0.0/8",       // this host
		"10.0.0.0/8",      // private
		"100.64.0.0/10",   // carriers' NAT
		"127.0.0.0/8",     // loopback
		"169.254.0.0/16",  // link-local, and metadata of clouds
		"172.16.0.0/12",   // private
		"192.0.0.0/24",    // protocols
		"192.0.2.0/24",    // documentation
		"192.88.99.0/24",  // relays of 6to4
		"192.168.0.0/16",  // private
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"224.0.0.0/4",     // multicast
		"240.0.0.0/4",     // reserved, and broadcast
	)
	special6 = prefixes(
		"2001::/23",     // protocols: Teredo, benchmarks, ORCHID
		"2001:db8::/32", // documentation
		"2002::/16",     // 6to4
		"3fff::/20",     // documentation
	)
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}
