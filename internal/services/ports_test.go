package services

import (
	"net"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestTakenPortsDifferAndAreFreeAfterwards(t *testing.T) {
	t.Parallel()
	var ports Ports
	seen := map[string]bool{}
	for range 20 {
		addr, err := ports.Take()
		if err != nil {
			t.Fatal(err)
		}
		seen[addr] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d different ports of 20", len(seen))
	}
	ports.Release()
	for addr := range seen {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("a released port is not free: %v", err)
			continue
		}
		ln.Close()
		break
	}
}
