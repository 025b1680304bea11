package services

import (
	"fmt"
	"net"
)

// Loopback is where everything listens.
const Loopback = "127.0.0.1"

// Ports holds the ports that were taken, since a free port may be free twice.
// The zero value holds none.
type Ports []net.Listener

// Take returns an address on the loopback interface that nobody listens on.
func (p *Ports) Take() (addr string, err error) {
	ln, err := net.Listen("tcp", Loopback+":0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	*p = append(*p, ln)
	return ln.Addr().String(), nil
}

// Release makes the ports free again, for those they were taken for.
func (p *Ports) Release() {
	for _, ln := range *p {
		ln.Close()
	}
	*p = nil
}
