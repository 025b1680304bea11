package upstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// listen serves s on a free port until the test ends.
func listen(t *testing.T, s *Server) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serving ended with %v", err)
		}
	})
	return ln.Addr().String()
}

func TestSlowReaderHoldsAWorker(t *testing.T) {
	t.Parallel()
	s := New(Options{Workers: 1})
	addr := listen(t, s)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /report?size=%d HTTP/1.1\r\nHost: x\r\n\r\n", 32<<20)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	// The rest is larger than all buffers between client and server.
	if got := s.Stats(); got.InFlight != 1 || got.Served != 0 {
		t.Errorf("%+v although nobody reads", got)
	}
	if n, err := io.Copy(io.Discard, res.Body); err != nil || n != 32<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if got := s.Stats(); got.InFlight != 0 || got.Served != 1 {
		t.Errorf("%+v after the last byte", got)
	}
}

// A client that waits for the end of one response before it sends the next
// request must never be counted twice: tests of a limit rely on it.
func TestMaxInFlightIsExact(t *testing.T) {
	t.Parallel()
	s := New(Options{Workers: 20})
	addr := listen(t, s)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for range 200 {
				res, err := client.Get(fmt.Sprintf("http://%s/report?size=%d&chunks=%d", addr, 1000+i*3000, 1+i%2))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Error(err)
				}
				res.Body.Close()
			}
		})
	}
	clients.Wait()
	want := Stats{Workers: 20, MaxInFlight: s.Stats().MaxInFlight, Executions: 800, Served: 800}
	if got := s.Stats(); got != want || got.MaxInFlight > 4 {
		t.Errorf("%+v with 4 clients", got)
	}
}
