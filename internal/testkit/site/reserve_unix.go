//go:build unix

package site

import (
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// FreeAddr returns an address of this machine without a server, reserved until the test
// ends. A Caddy may listen there. Tests of several packages run in parallel, Caddy shares its
// ports with every process that asks for the same one, and a site needs several addresses
// before it listens on any. Servers that do not share their ports cannot use it.
func FreeAddr(t testing.TB) string {
	t.Helper()
	var lastErr error
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		// HTTP/3 needs the UDP port too. Other servers reserve their ports with UDP,
		// and those must not be used.
		packets, err := net.ListenPacket("udp", addr)
		if err != nil {
			lastErr = err
			continue
		}
		fd, err := take(port)
		packets.Close()
		if err != nil {
			lastErr = err
			continue
		}
		t.Cleanup(func() { unix.Close(fd) })
		return addr
	}
	t.Fatalf("no port for a site: %v", lastErr)
	return ""
}

// take binds a free port without listening on it. After that the port can be shared with
// processes that set the option for sharing, as Caddy does.
func take(port int) (fd int, err error) {
	syscall.ForkLock.RLock()
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("port %d: %w", port, err)
	}
	return fd, nil
}
