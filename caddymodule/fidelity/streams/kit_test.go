package streams

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// pieceSize is that of each piece of the streams below.
const pieceSize = 64

// streamKinds are the ways in which backends stream. Each piece is one write of the
// backend, and the proxy gets no other signal to hand it on.
var streamKinds = map[string]struct{ head, before, after string }{
	"events":         {"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", "40\r\n", "\r\n"},
	"lines":          {"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n", "40\r\n", "\r\n"},
	"chunks":         {"Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n", "40\r\n", "\r\n"},
	"no end in view": {"Connection: close\r\n", "", ""},
	"incremental":    {"Incremental: ?1\r\nContent-Length: 6400000\r\n", "", ""},
	// Plain Caddy keeps these back until it has some 4 KiB of them.
	"known length": {"Content-Length: 6400000\r\n", "", ""},
}

// pacer is a backend that sends one piece of a stream at each signal of the test, with
// the time in it. The path selects the kind.
type pacer struct {
	addr  string
	start time.Time
	lanes sync.Map // the name of a stream to its lane
}

// lane is one stream: a value lets one piece go, its end ends the stream.
type lane chan struct{}

func newPacer(tb testing.TB) *pacer {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &pacer{addr: ln.Addr().String(), start: time.Now()}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { p.serve(conn) })
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		conns.Wait()
	})
	return p
}

// serve answers one request of a connection and closes it.
func (p *pacer) serve(conn net.Conn) {
	defer conn.Close()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	kind := streamKinds[req.URL.Query().Get("kind")]
	pieces, _ := p.lanes.Load(req.URL.Path)
	io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+kind.head+"\r\n")
	for range pieces.(lane) {
		conn.Write(p.piece(kind.before, kind.after))
	}
}

func (p *pacer) piece(before, after string) []byte {
	piece := bytes.Repeat([]byte("."), len(before)+pieceSize)
	copy(piece, before)
	binary.BigEndian.PutUint64(piece[len(before):], uint64(time.Since(p.start)))
	return append(piece, after...)
}

// paced is one stream at its client.
type paced struct {
	tb    testing.TB
	pacer *pacer
	lane  lane
	body  io.ReadCloser
}

// stream asks a site for a stream. The first piece comes at once: a head alone may
// stay behind.
func (p *pacer) stream(tb testing.TB, s *site.Site, c *http.Client, kind string) *paced {
	tb.Helper()
	st := &paced{tb: tb, pacer: p, lane: make(lane)}
	name := fmt.Sprintf("/%p", st)
	p.lanes.Store(name, st.lane)
	go func() { st.lane <- struct{}{} }()
	res, err := c.Get("https://" + s.Addr + name + "?kind=" + url.QueryEscape(kind))
	if err != nil || res.StatusCode != http.StatusOK {
		tb.Fatal(res, err)
	}
	st.body = res.Body
	st.read()
	return st
}

// next lets one piece go and returns how long it was on its way.
func (st *paced) next() time.Duration {
	st.lane <- struct{}{}
	return st.read()
}

func (st *paced) read() time.Duration {
	var piece [pieceSize]byte
	if _, err := io.ReadFull(st.body, piece[:]); err != nil {
		st.tb.Error(err)
	}
	return time.Since(st.pacer.start) - time.Duration(binary.BigEndian.Uint64(piece[:]))
}

func (st *paced) end() {
	close(st.lane)
	st.body.Close()
}

// pacedTwins are two sites that a pacer is behind.
func pacedTwins(tb testing.TB, p *pacer) (plain, offloaded *site.Site) {
	tb.Helper()
	return site.ServeTwins(tb, nil, "", "offload {\nname streams\nbreaker off\n}", "OFFLOAD\nreverse_proxy "+p.addr)
}

// inTime runs f and fails if it takes so long that something must hang.
func inTime(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-kit.Soon(t).Done():
		t.Fatalf("%s: it hangs", what)
	}
}
