package proc

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// call opens a connection, if the address accepts it.
func call(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestCallsAreCounted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	calls, err := CountCalls(listener.Addr().String())
	if errors.Is(err, syscall.EPERM) {
		t.Skip("needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	call(t, listener.Addr().String())
	call(t, other.Addr().String())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	call(t, listener.Addr().String())
	call(t, listener.Addr().String())
	if got, err := calls.Stop(); err != nil || got != 3 {
		t.Errorf("%d calls, %v, want 1 that was accepted and 2 that were refused", got, err)
	}
}

func TestOnlyOpeningPacketsCount(t *testing.T) {
	packet := func(protocol byte, port byte, flags byte) []byte {
		p := make([]byte, 40)
		p[0], p[9], p[23], p[33] = 0x45, protocol, port, flags
		return p
	}
	for about, c := range map[string]struct {
		packet []byte
		want   bool
	}{
		"SYN":          {packet(syscall.IPPROTO_TCP, 7, 0x02), true},
		"SYN and ACK":  {packet(syscall.IPPROTO_TCP, 7, 0x12), false},
		"ACK":          {packet(syscall.IPPROTO_TCP, 7, 0x10), false},
		"another port": {packet(syscall.IPPROTO_TCP, 8, 0x02), false},
		"UDP":          {packet(syscall.IPPROTO_UDP, 7, 0x02), false},
		"short":        {packet(syscall.IPPROTO_TCP, 7, 0x02)[:30], false},
		"nothing":      {nil, false},
	} {
		if got := opens(c.packet, 7); got != c.want {
			t.Errorf("%s: %v", about, got)
		}
	}
}

func TestBadAddressIsAnError(t *testing.T) {
	if _, err := CountCalls("nowhere"); err == nil {
		t.Fatal("no error")
	}
}
