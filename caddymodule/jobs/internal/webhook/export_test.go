package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
)

// UseResolver makes the sender look names up elsewhere.
func (s *Sender) UseResolver(r *net.Resolver) { s.dialer.Resolver = r }

// TrustRoots makes the sender trust these certificates alone.
func (s *Sender) TrustRoots(roots *x509.CertPool) {
	s.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
}

// UseDial makes the sender connect in another way, past the guard.
func (s *Sender) UseDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	s.transport.DialContext = dial
}

// PretendOwn makes these the addresses of the machine, or fails to read them.
func (s *Sender) PretendOwn(own []net.Addr, err error) {
	s.rules.guard.own = func() ([]net.Addr, error) { return own, err }
}
