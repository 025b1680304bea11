package compare

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"time"
)

// rawClient speaks HTTP/1 in the clear, on a new connection each time, and notes
// heads byte by byte.
type rawClient struct{ addr, proto string }

// rawConn is one connection of a rawClient.
type rawConn struct {
	rawClient
	net.Conn
	in *bufio.Reader
	p  *play
	x  *exchange
	// goOn is closed when the server has requested the body, over when it has
	// answered.
	goOn, over chan struct{}
	asked      bool
}

func (c rawClient) exchange(p *play, x *exchange) {
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(3 * patience))
	rc := &rawConn{
		rawClient: c, Conn: conn, in: bufio.NewReader(conn), p: p, x: x,
		goOn: make(chan struct{}), over: make(chan struct{}),
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		rc.send()
	}()
	left := make(chan struct{})
	go func() {
		defer close(left)
		if leave := p.trial.leave; leave != nil {
			leave(p)
			p.change(func() { p.left = true })
			conn.Close()
		}
	}()
	for range max(1, p.trial.answers) {
		x.answers = append(x.answers, rc.receive(p.trial.verb()))
	}
	close(rc.over)
	<-left
	p.upstreamDone()
	x.after = rc.probe(sent)
}

// send sends the request. That it fails shows in the answer.
func (c *rawConn) send() {
	if c.p.trial.raw != "" {
		text := strings.NewReplacer("\n", "\r\n", "SITE", c.addr, "PLAY", c.p.id).Replace(c.p.trial.raw)
		_, _ = io.WriteString(c, text)
		return
	}
	tr := c.p.trial
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\n", tr.verb(), tr.path(), c.proto)
	if !slices.ContainsFunc(tr.fields, func(f string) bool { return strings.HasPrefix(f, "Host: ") }) {
		fmt.Fprintf(&b, "Host: %s\r\n", c.addr)
	}
	fmt.Fprintf(&b, "X-Play: %s\r\n", c.p.id)
	for _, f := range tr.fields {
		fmt.Fprintf(&b, "%s\r\n", f)
	}
	for _, f := range tr.trailers {
		fmt.Fprintf(&b, "Trailer: %s\r\n", nameOf(f))
	}
	switch {
	case tr.body.untold:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case tr.body.open != nil:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", tr.body.length)
	}
	b.WriteString("\r\n")
	_, _ = io.WriteString(c, b.String())
	if tr.body.open != nil && c.mayGoOn() {
		c.sendBody()
	}
}

// mayGoOn waits for 100 Continue before the body, if the request expects it.
func (c *rawConn) mayGoOn() bool {
	if c.proto == "HTTP/1.0" || !slices.Contains(c.p.trial.fields, "Expect: 100-continue") {
		return true
	}
	select {
	case <-c.goOn:
		return true
	case <-c.over:
		return false
	}
}

func (c *rawConn) sendBody() {
	tr := c.p.trial
	src := tr.body.open(c.p)
	if !tr.body.untold {
		_, _ = io.Copy(c, src)
		return
	}
	w := httputil.NewChunkedWriter(c)
	_, _ = io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{src})
	_ = w.Close()
	for _, f := range tr.trailers {
		fmt.Fprintf(c, "%s\r\n", f)
	}
	_, _ = io.WriteString(c, "\r\n")
}

// receive reads an answer, and the 1xx before it.
func (c *rawConn) receive(method string) message {
	for {
		head, err := c.head()
		if err != nil {
			return message{start: "none", end: c.p.endOf(err, c.x)}
		}
		m := messageOf(head)
		c.in = bufio.NewReader(io.MultiReader(strings.NewReader(head), c.in))
		res, err := http.ReadResponse(c.in, &http.Request{Method: method})
		if err != nil {
			return message{start: "none", end: "unreadable: " + err.Error()}
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			m.body, m.end = c.p.readAll(res.Body, c.x)
			m.trailer = fieldsOf(res.Trailer)
			return m
		}
		c.x.informed = append(c.x.informed, m)
		c.p.change(func() { c.p.informed++ })
		if res.StatusCode == http.StatusContinue && !c.asked {
			close(c.goOn)
			c.asked = true
		}
	}
}

// head reads up to an empty line.
func (c *rawConn) head() (string, error) {
	var b strings.Builder
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		if line == "\r\n" {
			return b.String(), nil
		}
	}
}

// messageOf takes a head apart. Its bytes stay as they are.
func messageOf(head string) message {
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "Date: ") {
			lines[i] = "Date"
		}
		lines[i] = inOrder(lines[i])
	}
	return message{start: lines[0], fields: lines[1:]}
}

// probe asks for something else, to see whether the connection is still good.
func (c *rawConn) probe(sent <-chan struct{}) string {
	if c.p.hasLeft() {
		return "left"
	}
	select {
	case <-sent:
	case <-time.After(patience):
		return "the body was not taken"
	}
	fmt.Fprintf(c, "GET /after HTTP/1.1\r\nHost: %s\r\n\r\n", c.addr)
	head, err := c.head()
	if err != nil {
		return "closed"
	}
	return "open, then " + messageOf(head).start
}
