package bridge

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

const (
	// leastRoom is the room in bytes below which a socket counts as full.
	leastRoom = 16 << 10
	// mostRoom is the largest room in bytes that is used before the kernel is asked again:
	// the kernel takes room back when it runs out of memory.
	mostRoom = 512 << 10
	// pieceRoom is the room that a piece takes in addition to its bytes, for the kernel's
	// bookkeeping and the framing of HTTP and TLS.
	pieceRoom = 1 << 10
	// headRoom is the room that is reserved for the head, and for bytes that net/http still
	// keeps.
	headRoom = 8 << 10
)

// socket is the TCP connection of a client of HTTP/1. It is used for one response at a time.
type socket struct {
	conn   *net.TCPConn
	raw    syscall.RawConn // nil before it was first asked
	credit int             // bytes that it takes of those for which it had room when it was last asked
	kernel kernel
	ready  <-chan struct{} // closed when it has room, nil if no goroutine waits for that
}

type socketKey struct{}

// ConnContext adds the socket of a connection to its context, for the responses on it. It
// is for [http.Server.ConnContext]. Connections whose writes may be blocked by anything but
// the kernel are left out.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if !kernelAnswers || ctx.Value(socketKey{}) != nil {
		return ctx // the latter is the work of an earlier route of the server
	}
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	conn, ok := c.(*net.TCPConn)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, socketKey{}, &socket{conn: conn})
}

// socketOf returns the socket of a connection's context, nil if it is not known.
func socketOf(ctx context.Context) *socket {
	s, _ := ctx.Value(socketKey{}).(*socket)
	return s
}

// forget makes room ask the kernel again, since bytes may be on their way that were not
// counted.
func (s *socket) forget() { s.credit = 0 }

// room returns how many bytes can be written without blocking, less others, the bytes that
// outer writers may keep. It is zero if the room is too small to be worth a write, or not
// known.
func (s *socket) room(others int) int {
	if s.waiting() {
		return 0 // that goroutine holds up writes
	}
	if s.credit-others < leastRoom {
		s.credit = min(s.ask()-headRoom, mostRoom+others)
	}
	if room := s.credit - others; room >= leastRoom {
		return room
	}
	return 0
}

// use takes the room for a piece of n bytes.
func (s *socket) use(n int) { s.credit -= n + pieceRoom }

// ask asks the kernel how many bytes it takes now.
func (s *socket) ask() (room int) {
	if s.raw == nil {
		raw, err := s.conn.SyscallConn()
		if err != nil {
			return 0
		}
		s.raw = raw
	}
	if s.raw.Control(func(fd uintptr) { room = s.kernel.room(int(fd)) }) != nil {
		return 0 // it is closed
	}
	return room
}

// waiting reports whether a goroutine waits for room.
func (s *socket) waiting() bool {
	select {
	case <-s.ready:
		s.ready = nil
	default: // also without a goroutine
	}
	return s.ready != nil
}

// await waits until a third of the send buffer is free, and returns false if that takes
// longer. The goroutine that waits for the kernel ends with the connection at the latest,
// and writes nothing itself.
func (s *socket) await(longest time.Duration) bool {
	if !s.kernel.usual {
		return false
	}
	if !s.waiting() {
		ready := make(chan struct{})
		s.ready = ready
		go func() {
			defer close(ready)
			_ = s.raw.Write(writable) // it fails if the connection is closed
		}()
	}
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-s.ready:
		return true
	case <-timer.C:
		return false
	}
}
