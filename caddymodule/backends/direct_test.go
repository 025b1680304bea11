//go:build integration

package backends

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// conn is a connection without offload.
type conn struct {
	net  net.Conn
	r    *bufio.Reader
	root string
}

// direct is where requests go without offload: to a backend, or to a plain Caddy in front
// of one that speaks no HTTP.
type direct struct {
	t    *testing.T
	addr string
	root string // in front of paths
}

func (d direct) dial() *conn {
	d.t.Helper()
	c, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	return &conn{c, bufio.NewReader(c), d.root}
}

// ask sends a request on a separate connection.
func (d direct) ask(path string) *conn {
	d.t.Helper()
	c := d.dial()
	if err := c.send(http.MethodGet, path); err != nil {
		d.t.Fatal(err)
	}
	return c
}

func (c *conn) send(method, path string) error {
	length := ""
	if method == http.MethodPost {
		length = "Content-Length: 0\r\n"
	}
	_, err := fmt.Fprintf(c.net, "%s %s%s HTTP/1.1\r\nHost: backend\r\n%s\r\n", method, c.root, path, length)
	return err
}

// answer reads an answer to its end.
func (c *conn) answer(patience time.Duration) (*http.Response, error) {
	if err := c.net.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}

// ended waits for the end of a connection without requests, and reports whether it came.
func (c *conn) ended(patience time.Duration) bool {
	if err := c.net.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return true
	}
	_, err := c.r.ReadByte()
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func (c *conn) leave() { c.net.Close() }
