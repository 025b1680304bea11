package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Calls counts the connections that processes open to one loopback address, with those that
// the kernel rejects because no process listens: it reads the packets of the loopback
// interface, which needs root.
type Calls struct {
	socket  int
	port    uint16
	stop    chan struct{}
	stopped chan int // gets the number
}

// CountCalls begins to count the connections to an address of 127.0.0.0/8.
func CountCalls(addr string) (*Calls, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("counting calls: %w", err)
	}
	loopback, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, fmt.Errorf("counting calls: %w", err)
	}
	// A socket for one protocol sees a packet once, when it arrives.
	protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, syscall.ETH_P_IP))
	socket, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return nil, fmt.Errorf("counting calls: %w", err)
	}
	// A read ends after a while, to look whether the count is over.
	const patience = 20_000 // us
	err = errors.Join(
		syscall.Bind(socket, &syscall.SockaddrLinklayer{Protocol: protocol, Ifindex: loopback.Index}),
		syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: patience}),
		syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<20),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("counting calls: %w", err), syscall.Close(socket))
	}
	c := &Calls{socket: socket, port: to.Port(), stop: make(chan struct{}), stopped: make(chan int)}
	go c.count()
	return c, nil
}

func (c *Calls) count() {
	packet := make([]byte, 128) // enough for the headers
	calls := 0
	for {
		n, _, err := syscall.Recvfrom(c.socket, packet, 0)
		if err == nil && opens(packet[:n], c.port) {
			calls++
		}
		select {
		case <-c.stop:
			if err != nil { // all packets are read
				c.stopped <- calls
				return
			}
		default:
		}
	}
}

// opens reports whether an IP packet opens a TCP connection to the port.
func opens(packet []byte, port uint16) bool {
	const (
		protocolAt = 9 // in the header of IP
		portAt     = 2 // in the header of TCP
		flagsAt    = 13
		syn, ack   = 0x02, 0x10
	)
	if len(packet) == 0 {
		return false
	}
	header := 4 * int(packet[0]&0x0f)
	if len(packet) <= header+flagsAt || packet[protocolAt] != syscall.IPPROTO_TCP {
		return false
	}
	tcp := packet[header:]
	return binary.BigEndian.Uint16(tcp[portAt:]) == port && tcp[flagsAt]&(syn|ack) == syn
}

// Stop ends the count and returns the number of connections.
func (c *Calls) Stop() (int, error) {
	close(c.stop)
	calls := <-c.stopped
	if err := syscall.Close(c.socket); err != nil {
		return calls, fmt.Errorf("counting calls: %w", err)
	}
	return calls, nil
}
