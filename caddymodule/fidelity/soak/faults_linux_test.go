package soak

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// early is the fault of answering before the request has been read.
const early = "early answer"

// soakFaults are the faults of an upstream after it has read the request.
var soakFaults = map[string]func(c *soakCall){
	early:          func(c *soakCall) { c.answer(http.StatusOK) },
	"none":         func(c *soakCall) { c.answer(http.StatusOK) },
	"slow head":    func(c *soakCall) { c.wait(100 * time.Millisecond); c.answer(http.StatusOK) },
	"late head":    func(c *soakCall) { c.wait(800 * time.Millisecond); c.answer(http.StatusOK) },
	"server error": func(c *soakCall) { c.answer(http.StatusInternalServerError) },
	"overloaded":   func(c *soakCall) { c.w.Header().Set("Retry-After", "1"); c.answer(http.StatusServiceUnavailable) },
	"blocked": func(c *soakCall) { // it does not notice that its client has left
		testkit.Pause(500 * time.Millisecond)
		c.answer(http.StatusOK)
	},
	"flood of 1xx": func(c *soakCall) {
		for range 100 {
			c.w.Header().Set("Link", "</style.css>; rel=preload")
			c.w.WriteHeader(http.StatusEarlyHints)
		}
		c.w.Header().Del("Link")
		c.answer(http.StatusOK)
	},
	"stall": func(c *soakCall) {
		c.w.WriteHeader(http.StatusOK)
		c.write(0, c.down/2)
		_ = http.NewResponseController(c.w).Flush()
		c.wait(300 * time.Millisecond)
		c.leave()
		c.write(c.down/2, c.down)
	},
	"long stall": func(c *soakCall) {
		c.w.Header().Set("Content-Length", fmt.Sprint(c.down+1))
		c.w.WriteHeader(http.StatusOK)
		c.write(0, c.down)
		_ = http.NewResponseController(c.w).Flush()
		c.wait(1600 * time.Millisecond)
		c.leave()
	},
	"hangs up":      func(c *soakCall) { c.raw(c.head("Content-Length", c.down), c.down, false) },
	"reset":         func(c *soakCall) { c.raw("", 0, true) },
	"reset in head": func(c *soakCall) { c.raw("HTTP/1.1 200 OK\r\nContent-Le", 0, true) },
	"garbage":       func(c *soakCall) { c.raw("\x00\x16\x03 garbage \r\n\r\n", c.down, false) },
	"short body":    func(c *soakCall) { c.raw(c.head("Content-Length", c.down+1), c.down, false) },
	"reset in body": func(c *soakCall) { c.raw(c.head("Content-Length", c.down+1), c.down, true) },
	"cut chunk": func(c *soakCall) {
		c.raw(c.head("Transfer-Encoding", "chunked")+fmt.Sprintf("%x\r\n", c.down+1), c.down, false)
	},
	"bad chunk":     func(c *soakCall) { c.raw(c.head("Transfer-Encoding", "chunked")+"zz\r\n", c.down, false) },
	"missing chunk": func(c *soakCall) { c.raw(c.head("Transfer-Encoding", "chunked"), 0, false) },
	"two lengths": func(c *soakCall) {
		c.raw(c.head("Content-Length", fmt.Sprintf("%d\r\nContent-Length: 1", c.down+2)), c.down, false)
	},
	"huge header": func(c *soakCall) { c.raw(c.head("X-Huge", strings.Repeat("h", 100<<10)), 0, false) },
}

const switches = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: soak\r\nConnection: Upgrade\r\n\r\n"

// echo accepts an upgrade and echoes the bytes.
func (c *soakCall) echo() {
	conn, buf, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return // the other side was faster
	}
	defer conn.Close()
	if !c.holds {
		c.leave()
	}
	defer c.leave()
	_, _ = io.WriteString(conn, switches)
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.Copy(conn, buf) // its end is the client's business
}

// head is that of an answer, as raw text.
func (c *soakCall) head(name string, value any) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Seed: %d\r\n%s: %v\r\n\r\n", c.seed, name, value)
}

// cutting are the faults after which no answer may look like a whole one.
var cutting = map[string]bool{
	"long stall": true, "reset": true, "reset in head": true, "garbage": true, "short body": true,
	"reset in body": true, "cut chunk": true, "bad chunk": true, "missing chunk": true, "two lengths": true,
	"huge header": true,
}
