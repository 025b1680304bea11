package raw

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// rawUpstream is an upstream that keeps the very bytes of the requests it gets.
type rawUpstream struct {
	addr string

	mu       sync.Mutex
	requests []string // without their framing, and text that is no request
}

func newRawUpstream(t *testing.T) *rawUpstream {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rawUpstream{addr: ln.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			conns.Go(func() { r.serve(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel() // Caddy keeps idle connections
		conns.Wait()
	})
	return r
}

func (r *rawUpstream) serve(conn net.Conn) {
	defer conn.Close()
	var raw bytes.Buffer
	br := bufio.NewReader(io.TeeReader(conn, &raw))
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			if raw.Len() > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
				r.fault("it is no request: %v: %q", err, raw.Bytes())
			}
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // not a whole request, which no upstream would act upon
		}
		r.record(raw.Next(raw.Len()-br.Buffered()), body, req.Trailer)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(req.Method))
		if req.Method != http.MethodHead {
			io.WriteString(conn, req.Method)
		}
	}
}

// record keeps a request as the upstream got it. How its body is framed is left
// out: that may differ, but must be clear.
func (r *rawUpstream) record(raw, body []byte, trailer http.Header) {
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	var rest []string
	framing := map[string]int{}
	for line := range strings.SplitSeq(head, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Content-Length", "Transfer-Encoding", "Trailer":
			framing[name]++
		default:
			rest = append(rest, line)
		}
	}
	if framing["Content-Length"]+framing["Transfer-Encoding"] > 1 {
		r.fault("the length is not clear: %q", head)
	}
	if i := strings.IndexAny(strings.Join(rest, ""), "\r\n\x00"); i >= 0 {
		r.fault("a control character: %q", head)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, fmt.Sprintf("%s\n\n%q\n%v", strings.Join(rest, "\n"), body, trailer))
}

// fault records input that no upstream should get. Plain Caddy passes some of that.
func (r *rawUpstream) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, fmt.Sprintf(format, args...))
}

// take returns the requests since its last call.
func (r *rawUpstream) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	requests := r.requests
	r.requests = nil
	return requests
}

// How long to wait for more from a server that may be waiting for more itself: a
// little at first, since most are, and more if that makes a difference.
const (
	rawPatience = 200 * time.Millisecond
)

// rawPlay sends text on a separate connection and returns the result: each answer, and
// whether the connection is closed then.
func rawPlay(t *testing.T, addr, text string, patience time.Duration) []string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.WriteString(conn, text) // the server may have had enough before
	}()
	answers := rawAnswers(conn, patience)
	conn.Close()
	<-sent
	return answers
}

func rawAnswers(conn net.Conn, patience time.Duration) (answers []string) {
	br := bufio.NewReader(conn)
	for {
		conn.SetReadDeadline(time.Now().Add(patience))
		res, err := http.ReadResponse(br, nil)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return append(answers, "waits")
		case err != nil: // an end or a reset, which depends on timing
			return append(answers, "closed")
		}
		body, err := io.ReadAll(res.Body)
		answers = append(answers, fmt.Sprintf("%d %q cut=%v close=%v", res.StatusCode, body, err != nil, res.Close))
	}
}

// rawTwins are two sites in front of a raw upstream. They differ by their names and by
// offload only.
func rawTwins(t *testing.T, words string) (r *rawUpstream, plain, offloaded *site.Site) {
	t.Helper()
	r = newRawUpstream(t)
	plain, offloaded = site.ServeTwins(t, nil, "", "offload {\nbreaker off\nconcurrency 20\n"+words+"\n}", "OFFLOAD\nreverse_proxy "+r.addr)
	return r, plain, offloaded
}

// rawCompare plays the same to both and wants the same from both. Where a probe
// breaks a stream while its request is already on its way, either may come first;
// then it takes several tries, as it does on a machine that is very busy.
func rawCompare(t *testing.T, r *rawUpstream, plain, offloaded func(patience time.Duration) []string) {
	t.Helper()
	const tries = 20
	for try := 1; ; try++ {
		patience := min(time.Duration(try)*rawPatience, kit.Patience)
		wantAnswers, wantRequests := plain(patience), r.take()
		answers, requests := offloaded(patience), r.take()
		if slices.Equal(answers, wantAnswers) && slices.Equal(requests, wantRequests) {
			return
		}
		if try < tries {
			continue
		}
		t.Fatalf("the answers are\n%s\nwithout offload\n%s\nThe upstream got\n%s\nwithout offload\n%s",
			strings.Join(answers, "\n"), strings.Join(wantAnswers, "\n"),
			strings.Join(requests, "\n\n"), strings.Join(wantRequests, "\n\n"))
	}
}

func rawCompareBytes(t *testing.T, r *rawUpstream, plain, offloaded *site.Site, probe string) {
	t.Helper()
	rawCompare(t, r,
		func(d time.Duration) []string { return rawPlay(t, plain.Clear, probe+rawLast, d) },
		func(d time.Duration) []string { return rawPlay(t, offloaded.Clear, probe+rawLast, d) })
}
