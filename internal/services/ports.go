package services

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Loopback is the address that all servers listen on.
const Loopback = "127.0.0.1"

// Ports holds reserved ports. The zero value holds none.
//
// The operating system may give a free port to another process as long as no server listens
// there. A server may need ten seconds to listen, also after a restart. So Take chooses
// ports below the range from which the system takes them, and reserves them with UDP, which
// leaves TCP free for the intended server.
type Ports []net.PacketConn

// The range of reserved ports. Linux takes ports from 32768 on itself, other systems from a
// higher number.
const (
	firstPort = 10_000
	lastPort  = 32_767
	attempts  = 1000
)

// Take returns a free address on the loopback interface and reserves its port.
func (p *Ports) Take() (addr string, err error) {
	for range attempts {
		addr = net.JoinHostPort(Loopback, strconv.Itoa(firstPort+rand.N(lastPort-firstPort+1)))
		held, heldErr := hold(addr)
		if heldErr == nil {
			*p = append(*p, held)
			return addr, nil
		}
		err = heldErr
	}
	return "", fmt.Errorf("looking for a free port: %w", err)
}

// hold reserves a port. It fails if the port is reserved, or a server listens
// there.
func hold(addr string) (net.PacketConn, error) {
	held, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr)
	if err == nil {
		err = ln.Close()
	}
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held, nil
}

// Release ends the reservations.
func (p *Ports) Release() {
	for _, held := range *p {
		held.Close()
	}
	*p = nil
}
