package compare

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// upstream plays the trial of a request, and records the requests that it gets.
type upstream struct{}

// call is one request as the upstream saw it.
type call struct {
	message
	play *play
	got  bytes.Buffer
}

func (upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, ok := plays.Load(r.Header.Get("X-Play"))
	if !ok { // see probe
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "after")
		return
	}
	p := found.(*play)
	c := p.enter(r)
	defer p.leave(c, r)
	r.Body = &watchedBody{r.Body, c}
	if !p.trial.unread {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	answer := p.trial.answer
	if answer == nil {
		answer = says("hello")
	}
	answer(w, r.WithContext(context.WithValue(r.Context(), playKey{}, p)))
}

func (p *play) enter(r *http.Request) *call {
	c := &call{play: p, message: message{
		start: fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, r.Proto),
		fields: append(fieldsOf(r.Header), "Host: "+r.Host,
			fmt.Sprintf("(length): %d %v", r.ContentLength, r.TransferEncoding)),
		end: "not read to its end",
	}}
	sortFields(c.fields)
	p.change(func() {
		p.calls = append(p.calls, c)
		p.running++
	})
	return c
}

func (p *play) leave(c *call, r *http.Request) {
	p.change(func() {
		c.trailer = fieldsOf(r.Trailer)
		c.body = c.got.Bytes()
		p.running--
	})
}

// watchedBody records the bytes that are read.
type watchedBody struct {
	io.ReadCloser
	call *call
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.call.play.change(func() {
		b.call.got.Write(p[:n])
		b.call.play.sent += int64(n)
		switch {
		case err == io.EOF:
			b.call.end = "whole"
		case err != nil:
			b.call.end = "cut"
		}
	})
	return n, err
}

// says returns a handler that answers with a text of declared length.
func says(text string) http.HandlerFunc { return answer(http.StatusOK, text) }

// answer answers with a status, a text of known length, and fields as "Name: value".
func answer(code int, text string, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		addFields(w.Header(), fields)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

func addFields(h http.Header, fields []string) {
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		h[name] = append(h[name], value)
	}
}

// raw answers with the bytes of text, in which \n ends a line, and closes the
// connection.
func raw(text string) http.HandlerFunc {
	return onConnBytes(strings.ReplaceAll(text, "\n", "\r\n"))
}

func onConnBytes(text string) http.HandlerFunc {
	return onConn(func(conn *net.TCPConn, _ *play) { _, _ = io.WriteString(conn, text) })
}

// onConn answers on the connection itself. At the end it is closed without a reset, even
// if the proxy still sends.
func onConn(f func(conn *net.TCPConn, p *play)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		tcp := conn.(*net.TCPConn)
		f(tcp, playOf(r.Context()))
		_ = tcp.CloseWrite()
		_ = tcp.SetDeadline(time.Now().Add(patience))
		_, _ = io.Copy(io.Discard, tcp)
	}
}
