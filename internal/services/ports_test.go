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
	free := 0
	for addr := range seen {
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			free++
		}
	}
	if free == 0 { // other processes may have taken some by now
		t.Error("no released port is free")
	}
}

func TestATakenPortIsFreeForOneServer(t *testing.T) {
	t.Parallel()
	var ports Ports
	addr, err := ports.Take()
	if err != nil {
		t.Fatal(err)
	}
	defer ports.Release()
	for range 2 { // it may be started again
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		if held, err := hold(addr); err == nil {
			held.Close()
			t.Error("somebody else was given the port as well")
		}
	}
}

func TestNobodyIsGivenAPortOnWhichAServerListens(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", Loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if held, err := hold(ln.Addr().String()); err == nil {
		held.Close()
		t.Error("the port was given away")
	}
}
