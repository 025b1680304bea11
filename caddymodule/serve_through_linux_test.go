package caddymodule_test

import (
	"bufio"
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// An event stream to a client of HTTP/1 that keeps up costs no goroutine of the bridge: Caddy
// lets the bridge know its connections.
func TestEventStreamsNeedNoHelper(t *testing.T) {
	s := streamingSite(t)
	res, err := s.Clients()["h1"].Get("https://" + s.Addr + "/sse")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for range 3 {
		lines.ReadString('\n')
		lines.ReadString('\n')
		testkit.Pause(5 * time.Millisecond) // the response goes on
		all := make([]byte, 1<<20)
		if bytes.Contains(all[:runtime.Stack(all, true)], []byte("bridge.(*relay).help(")) {
			t.Error("the bridge has a helper")
		}
		step <- struct{}{}
	}
}
