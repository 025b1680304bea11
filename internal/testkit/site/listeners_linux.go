package site

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// replaced waits until the listeners of the configuration before have closed, which they do a
// little after a reload. Until then the kernel may give them a new connection, which ends with
// them: the first request of a test would fail.
func (s *Site) replaced() {
	for _, address := range []string{s.Addr, s.Clear} {
		testkit.Poll(10*time.Second, func() bool { return listeners(address) <= 1 })
	}
}

// listeners returns how many sockets of the system listen on the port of an address.
func listeners(address string) (n int) {
	_, text, _ := net.SplitHostPort(address)
	port, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0
	}
	local, listens := fmt.Appendf(nil, ":%04X", port), []byte("0A")
	for line := range bytes.Lines(table) {
		if f := bytes.Fields(line); len(f) > 3 && bytes.HasSuffix(f[1], local) && bytes.Equal(f[3], listens) {
			n++
		}
	}
	return n
}
