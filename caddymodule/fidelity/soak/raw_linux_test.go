package soak

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// The habits that no ordinary client has, over connections without TLS.

// dial connects for a while.
func (c *soakClient) dial() (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", c.clear)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), conn.SetDeadline(time.Now().Add(hangs))
}

// text is the head of a request.
func (q *soakRequest) text(fields ...string) string {
	fields = append(fields, "Host: 127.0.0.1", fmt.Sprintf("Content-Length: %d", q.up))
	return q.method() + " " + q.uri() + " HTTP/1.1\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

// resets sends a request, or a part of it, and resets the connection some time
// later.
func (c *soakClient) resets(q *soakRequest) string {
	conn, err := c.dial()
	if err != nil {
		return "cut"
	}
	_, _ = io.WriteString(conn, q.text())
	sent, part := make(chan struct{}), q.seed.Reader(c.rnd.Int64N(q.up+1))
	go func() {
		defer close(sent)
		_, _ = io.Copy(conn, part)
	}()
	testkit.Pause(time.Duration(c.rnd.Int64N(int64(300 * time.Millisecond))))
	_ = conn.SetLinger(0)
	conn.Close()
	<-sent
	return "left"
}

// halfCloses closes its direction of the connection, and reads on. A server may take that
// for a disconnect.
func (c *soakClient) halfCloses(q *soakRequest) string {
	conn, err := c.dial()
	if err != nil {
		return "cut"
	}
	defer conn.Close()
	q.mayBeLeaving = true
	_, _ = io.WriteString(conn, q.text())
	go func() {
		_, _ = io.Copy(conn, q.seed.Reader(q.up))
		_ = conn.CloseWrite()
	}()
	return c.receive(q, bufio.NewReader(conn))
}

// pipelines sends three requests before it reads an answer.
func (c *soakClient) pipelines(q *soakRequest) string {
	conn, err := c.dial()
	if err != nil {
		return "cut"
	}
	defer conn.Close()
	all := []*soakRequest{q, c.next(), c.next()}
	go func() {
		for _, q := range all {
			_, _ = io.WriteString(conn, q.text())
			_, _ = io.Copy(conn, q.seed.Reader(q.up))
		}
	}()
	answers := bufio.NewReader(conn)
	became := ""
	for _, q := range all {
		if became = c.receive(q, answers); became == "cut" || became == "left" {
			break // the others are not answered
		}
	}
	return became
}

// receive reads an answer and judges it.
func (c *soakClient) receive(q *soakRequest, from *bufio.Reader) string {
	res, err := http.ReadResponse(from, &http.Request{Method: q.method()})
	for err == nil && res.StatusCode >= 100 && res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols {
		res, err = http.ReadResponse(from, &http.Request{Method: q.method()})
	}
	if err != nil {
		return c.failed(q, err, hangs)
	}
	defer res.Body.Close()
	became := c.judge(q, res, hangs)
	if res.Close && became != "wrong" {
		return "cut" // nothing comes after it
	}
	return became
}

// upgrades upgrades its connection, and expects an echo.
func (c *soakClient) upgrades(q *soakRequest) string {
	conn, err := c.dial()
	if err != nil {
		return "cut"
	}
	defer conn.Close()
	q.fault, q.up, q.down = "none", 0, 1+c.rnd.Int64N(200_000)
	_, _ = io.WriteString(conn, q.text("Connection: Upgrade", "Upgrade: soak"))
	from := bufio.NewReader(conn)
	res, err := http.ReadResponse(from, &http.Request{Method: http.MethodGet})
	if err != nil {
		return c.failed(q, err, hangs)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		return c.judge(q, res, hangs)
	}
	go func() { _, _ = io.Copy(conn, q.seed.Reader(q.down)) }()
	j := &kit.Judge{Sequence: q.seed}
	if _, err := io.CopyN(j, from, q.down); err != nil {
		return c.failed(q, err, hangs)
	}
	return "whole"
}
