package fidelity_test

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

// rawHTTP2 is a connection on which any frame can be sent, also those that no
// client would send.
type rawHTTP2 struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	fields *hpack.Encoder

	patience time.Duration // of answer
}

// dialHTTP2 opens a connection in the clear, with HTTP/2 from the first byte.
func dialHTTP2(t *testing.T, addr string) *rawHTTP2 {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &rawHTTP2{t: t, conn: conn, framer: http2.NewFramer(conn, conn), patience: rawMaxPatience}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fields = hpack.NewEncoder(&c.block)
	io.WriteString(conn, http2.ClientPreface)
	c.framer.WriteSettings()
	return c
}

// headers sends a header block in as many frames as it needs. Names and values
// take turns.
func (c *rawHTTP2) headers(stream uint32, end bool, fields ...string) {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.fields.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	const most = 16 << 10
	rest := c.block.Bytes()
	first := rest[:min(len(rest), most)]
	rest = rest[len(first):]
	c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0,
	})
	for len(rest) > 0 {
		next := rest[:min(len(rest), most)]
		rest = rest[len(next):]
		c.framer.WriteContinuation(stream, len(rest) == 0, next)
	}
}

func (c *rawHTTP2) data(stream uint32, end bool, text string) {
	c.framer.WriteData(stream, end, []byte(text))
}

// answer returns what becomes of a stream.
func (c *rawHTTP2) answer(stream uint32) string {
	var text string
	for {
		c.conn.SetReadDeadline(time.Now().Add(c.patience))
		frame, err := c.framer.ReadFrame()
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
				c.framer.WriteSettingsAck()
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
