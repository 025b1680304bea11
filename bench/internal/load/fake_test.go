package load

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// patience is far longer than any test needs: a test that reaches this
// deadline fails.
const patience = time.Minute

// fake is a server that sends fixed bytes as its answer to each request.
type fake struct {
	addr     string
	dialed   atomic.Int64
	requests atomic.Int64
}

// newFake starts a server. answer returns the bytes for the n-th request
// (from 0), and whether to close the connection after them.
func newFake(t *testing.T, answer func(n int64, r *http.Request) (text string, hangUp bool)) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{addr: listener.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.dialed.Add(1)
			go f.serve(conn, answer)
		}
	}()
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return f
}

func (f *fake) serve(conn net.Conn, answer func(int64, *http.Request) (string, bool)) {
	defer func() { _ = conn.Close() }()
	requests := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		text, hangUp := answer(f.requests.Add(1)-1, r)
		if _, err := io.WriteString(conn, text); err != nil || hangUp {
			return
		}
	}
}

// always answers every request with the same bytes.
func always(text string) func(int64, *http.Request) (string, bool) {
	return func(int64, *http.Request) (string, bool) { return text, false }
}

const (
	okText      = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	refusedText = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
	brokenText  = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhel"
)
