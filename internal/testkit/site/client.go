package site

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

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

// Send sends a request without a body, with fields given as names and values in turn, and
// reads the answer.
func Send(t testing.TB, c *http.Client, method, url string, fields ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
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
