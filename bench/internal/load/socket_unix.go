//go:build unix

package load

import (
	"fmt"
	"syscall"
)

// likeEthernet prepares a socket before it connects, because both values are
// negotiated at that time.
func likeEthernet(_, _ string, socket syscall.RawConn) error {
	var failed error
	err := socket.Control(func(fd uintptr) {
		if failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, ethernetMSS); failed != nil {
			return
		}
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, slowReceive)
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("preparing slow socket: %w", err)
	}
	return nil
}
