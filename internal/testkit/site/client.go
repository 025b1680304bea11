package site

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// Clients returns a client for each version of HTTP. They use new connections.
func (s *Site) Clients() map[string]*http.Client {
	insecure := &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"}
	h1 := &http.Transport{TLSClientConfig: insecure.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, MaxIdleConnsPerHost: 100}
	h2 := &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: insecure.Clone()}
	s.t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		_ = h3.Close()
	})
	return map[string]*http.Client{"h1": {Transport: h1}, "h2": {Transport: h2}, "h3": {Transport: h3}}
}

// EachVersion runs f as a sub-test for each version of HTTP.
func (s *Site) EachVersion(f func(t *testing.T, c *http.Client, url string)) {
	for name, c := range s.Clients() {
		s.t.(*testing.T).Run(name, func(t *testing.T) { f(t, c, "https://"+s.Addr) })
	}
}

// FreeAddr returns a free address of this machine. It is below the ports of
// outgoing connections, one of which could take it before it is used. Each
// address is returned once: a site needs several before it listens on any of
// them.
func FreeAddr(t testing.TB) string {
	t.Helper()
	const lowest, highest = 10_000, 32_000
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest))
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

// Eventually polls a condition of another goroutine or process.
func Eventually(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("did not happen within 10s")
		}
		<-time.After(2 * time.Millisecond)
	}
}

// Counter counts the requests that an upstream serves at the same time.
type Counter struct{ Now, Most, Total atomic.Int64 }

// Enter counts one more request.
func (c *Counter) Enter() {
	n := c.Now.Add(1)
	c.Total.Add(1)
	for most := c.Most.Load(); n > most && !c.Most.CompareAndSwap(most, n); most = c.Most.Load() {
	}
}

// Leave counts one request less.
func (c *Counter) Leave() { c.Now.Add(-1) }

// Get requests url and reads the answer.
func Get(t testing.TB, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Do(t, c, req)
}

// Do sends req and reads the answer, complete or cut short.
func Do(t testing.TB, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b strings.Builder
	buf := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return res, b.String()
}

// Leave starts a request and cancels it when leaveWhen returns.
func Leave(t testing.TB, c *http.Client, url string, leaveWhen func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if res, err := c.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	leaveWhen()
	cancel()
	<-done
}
