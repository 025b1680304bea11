//go:build !unix

package site

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// FreeAddr returns a free address of this machine. It is below the ports of
// outgoing connections, one of which could take it before it is used. Each
// address is returned once: a site needs several before it listens on any of
// them.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort))
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", addr)
		tcp.Close()
		if err != nil {
			continue
		}
		udp.Close()
		if _, again := givenAddrs.LoadOrStore(addr, true); !again {
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

var givenAddrs sync.Map
