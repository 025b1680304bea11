package kit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// HTTP2Conn is a connection on which any frame can be sent, also those that no
// client would send.
type HTTP2Conn struct {
	t      *testing.T
	Conn   net.Conn
	Framer *http2.Framer
	block  bytes.Buffer
	fields *hpack.Encoder

	Patience time.Duration // of answer
}

// DialHTTP2 opens a connection in the clear, with HTTP/2 from the first byte.
func DialHTTP2(t *testing.T, addr string) *HTTP2Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &HTTP2Conn{t: t, Conn: conn, Framer: http2.NewFramer(conn, conn), Patience: Patience}
	c.Framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fields = hpack.NewEncoder(&c.block)
	_, _ = io.WriteString(conn, http2.ClientPreface) // a failure shows in the answers
	_ = c.Framer.WriteSettings()
	return c
}

// Headers sends a header block in as many frames as it needs. fields alternate between
// names and values.
func (c *HTTP2Conn) Headers(stream uint32, end bool, fields ...string) {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = c.fields.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	const most = 16 << 10
	rest := c.block.Bytes()
	first := rest[:min(len(rest), most)]
	rest = rest[len(first):]
	_ = c.Framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0,
	})
	for len(rest) > 0 {
		next := rest[:min(len(rest), most)]
		rest = rest[len(next):]
		_ = c.Framer.WriteContinuation(stream, len(rest) == 0, next)
	}
}

// Data sends a part of a body.
func (c *HTTP2Conn) Data(stream uint32, end bool, text string) {
	_ = c.Framer.WriteData(stream, end, []byte(text))
}

// Answer returns the result of a stream.
func (c *HTTP2Conn) Answer(stream uint32) string {
	var text string
	for {
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.Patience))
		frame, err := c.Framer.ReadFrame()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return text + "waits"
		case err != nil:
			return text + "closed"
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			return fmt.Sprintf("%sgone away: %v", text, f.ErrCode)
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = c.Framer.WriteSettingsAck()
			}
		}
		if frame.Header().StreamID != stream {
			continue
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			text += f.PseudoValue("status") + " "
		case *http2.DataFrame:
			text += string(f.Data())
		case *http2.RSTStreamFrame:
			return fmt.Sprintf("%sreset: %v", text, f.ErrCode)
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) { // the same bit for all types that have it
			return text
		}
	}
}

// Head returns the header fields of a request, followed by more.
func Head(method string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", "127.0.0.1", ":path", "/first"}, more...)
}

// Smuggled is a body that the server must never parse as a request.
const Smuggled = "GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

// Patience is how long a test waits for more data from a server that may itself be waiting.
const Patience = 5 * time.Second
