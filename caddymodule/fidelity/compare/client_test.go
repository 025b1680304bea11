package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// roundTripper is a client as others use it.
type roundTripper struct {
	url       string
	transport http.RoundTripper
	// fresh connections keep it from trying again by itself.
	fresh bool
}

func (c roundTripper) exchange(p *play, x *exchange) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := make(chan struct{})
	go func() {
		defer close(left)
		if leave := p.trial.leave; leave != nil {
			leave(p)
			p.change(func() { p.left = true })
			cancel()
		}
	}()
	if c.fresh {
		c.transport.(*http.Transport).CloseIdleConnections()
	}
	x.answers = []message{c.ask(ctx, p, x)}
	<-left
	p.upstreamDone()
	if !c.fresh { // with fresh, http.Transport closes connections for other reasons
		x.after = c.probe()
	}
}

// ask sends the request and reads the answer.
func (c roundTripper) ask(ctx context.Context, p *play, x *exchange) message {
	var mu sync.Mutex // the trace is called from elsewhere
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			x.informed = append(x.informed, message{start: fmt.Sprint(code), fields: fieldsOf(http.Header(header))})
			p.change(func() { p.informed++ })
			return nil
		},
	})
	res, err := c.transport.RoundTrip(c.request(ctx, p))
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		return message{start: "none", end: p.endOf(err, x)}
	}
	defer res.Body.Close()
	m := message{start: fmt.Sprint(res.Proto, " ", res.StatusCode), fields: fieldsOf(res.Header)}
	m.fields = append(m.fields, fmt.Sprintf("(length): %d %v", res.ContentLength, res.TransferEncoding))
	for _, name := range slices.Sorted(maps.Keys(res.Trailer)) {
		m.fields = append(m.fields, "(announced): "+name)
	}
	m.body, m.end = p.readAll(res.Body, x)
	m.trailer = fieldsOf(res.Trailer)
	return m
}

func (c roundTripper) request(ctx context.Context, p *play) *http.Request {
	tr := p.trial
	var content io.Reader
	if tr.body.open != nil {
		content = tr.body.open(p)
	}
	req, err := http.NewRequestWithContext(ctx, tr.verb(), c.url+tr.path(), content)
	if err != nil {
		panic(err)
	}
	if tr.body.open != nil {
		req.ContentLength, req.GetBody = tr.body.length, nil
		if tr.body.untold {
			req.ContentLength = -1
		}
	}
	addFields(req.Header, tr.fields)
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	req.Header.Set("X-Play", p.id)
	if len(tr.trailers) > 0 {
		req.Trailer = make(http.Header)
		addFields(req.Trailer, tr.trailers)
	}
	return req
}

// probe asks for something else, to see whether the connection is still good.
func (c roundTripper) probe() string {
	reused := false
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/after", nil)
	if err != nil {
		panic(err)
	}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	if !reused {
		return "closed"
	}
	return fmt.Sprint("open, then ", res.StatusCode)
}

func (r *request) verb() string {
	if r.method == "" {
		return http.MethodGet
	}
	return r.method
}

func (r *request) path() string {
	if r.target == "" {
		return "/"
	}
	return r.target
}

// readAll reads the body of an answer and reports its progress to the upstream.
func (p *play) readAll(body io.Reader, x *exchange) (content []byte, end string) {
	p.change(func() { p.taken = max(p.taken, 0) })
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		content = append(content, buf[:n]...)
		p.change(func() { p.taken += int64(n) })
		if err == io.EOF {
			return content, "whole"
		}
		if err != nil {
			return content, p.endOf(err, x)
		}
	}
}

var streamNumber = regexp.MustCompile(`stream ID \d+`)

// endOf returns how an exchange was cut. On HTTP/1 it is chance whether the client
// sees the end or a reset of the connection, and on HTTP/3 a reset overtakes bytes
// that were sent before.
func (p *play) endOf(err error, x *exchange) string {
	if p.hasLeft() {
		x.partial = true
		return "left"
	}
	if h3, ok := errors.AsType[*http3.Error](err); ok {
		x.partial = true
		return fmt.Sprintf("cut by HTTP/3 error %s", h3.ErrorCode)
	}
	if quicErr, ok := errors.AsType[*quic.StreamError](err); ok {
		x.partial = true
		return fmt.Sprintf("cut by QUIC error %d", quicErr.ErrorCode)
	}
	text := err.Error()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed), strings.Contains(text, "server closed idle connection"):
		return "cut"
	}
	return "cut: " + streamNumber.ReplaceAllString(text, "stream N")
}
