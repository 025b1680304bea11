package services

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Loopback is where everything listens.
const Loopback = "127.0.0.1"

// Ports holds the ports that were taken. The zero value holds none.
//
// A port that the system hands out as free is handed out again as long as nobody
// listens there, and a server may need ten seconds until it does, also when it is
// started again: then another server is taken for it. So ports are taken from
// below those that systems hand out, and held with UDP, which leaves TCP free for
// the server they were taken for.
type Ports []net.PacketConn

// Ports that can be taken. Linux hands out those from 32768 on, others begin
// above that.
const (
	firstPort = 10_000
	lastPort  = 32_767
	attempts  = 1000
)

// Take returns an address on the loopback interface that nobody listens on.
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

// hold fails if somebody holds the port, or listens there.
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

// Release lets others have the ports.
func (p *Ports) Release() {
	for _, held := range *p {
		held.Close()
	}
	*p = nil
}
