package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// errProtocol means that an answer is malformed or has a form that this
// client does not implement.
var errProtocol = errors.New("unexpected answer")

// conn is one client connection. It has at most one open request.
type conn struct {
	net.Conn

	answers *bufio.Reader
}

// dial opens a connection whose reads go through a buffer of the given size.
func dial(ctx context.Context, dialer *net.Dialer, addr string, buffer int) (*conn, error) {
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	return &conn{Conn: nc, answers: bufio.NewReaderSize(nc, buffer)}, nil
}

// answer describes a response that was read to its end.
type answer struct {
	status int
	size   int64 // bytes of the body
	keep   bool  // the connection can carry another request
}

// roundTrip sends one prebuilt request and reads the whole answer.
func (c *conn) roundTrip(request []byte, deadline time.Time) (answer, error) {
	if err := c.SetDeadline(deadline); err != nil {
		return answer{}, fmt.Errorf("setting deadline: %w", err)
	}
	if _, err := c.Write(request); err != nil {
		return answer{}, fmt.Errorf("sending: %w", err)
	}
	return c.readAnswer()
}

// readAnswer reads one final response and drops its body.
func (c *conn) readAnswer() (answer, error) {
	got, err := c.readHead()
	if err != nil {
		return answer{}, err
	}
	size, err := c.discardBody(got)
	if err != nil {
		return answer{}, err
	}
	return answer{status: got.status, size: size, keep: got.keep}, nil
}

// head is a parsed response head. length is -1 without Content-Length.
type head struct {
	status  int
	length  int64
	chunked bool
	keep    bool
}

// readHead reads heads up to the first final one.
func (c *conn) readHead() (head, error) {
	for {
		h, err := c.readOneHead()
		if err != nil || h.status >= 200 {
			return h, err
		}
	}
}

func (c *conn) readOneHead() (head, error) {
	line, err := c.readLine()
	if err != nil {
		return head{}, fmt.Errorf("reading status line: %w", err)
	}
	h := head{length: -1, keep: true}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return head{}, fmt.Errorf("%w: %q", errProtocol, line)
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return head{}, fmt.Errorf("%w: status %q", errProtocol, line)
	}
	for {
		line, err := c.readLine()
		if err != nil {
			return head{}, fmt.Errorf("reading head: %w", err)
		}
		if len(line) == 0 {
			return h, nil
		}
		if err := h.field(line); err != nil {
			return head{}, err
		}
	}
}

// field parses one header field. The first letter decides before the slow
// comparison, because most fields do not matter here.
func (h *head) field(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	if len(name) == 0 || (name[0]|0x20 != 'c' && name[0]|0x20 != 't') {
		return nil
	}
	value = bytes.TrimSpace(value)
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		length, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return fmt.Errorf("%w: length %q", errProtocol, value)
		}
		h.length = length
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		h.chunked = bytes.EqualFold(value, []byte("chunked"))
	case bytes.EqualFold(name, []byte("Connection")):
		h.keep = !bytes.EqualFold(value, []byte("close"))
	}
	return nil
}

// discardBody reads the body that belongs to h and returns its size.
func (c *conn) discardBody(h head) (int64, error) {
	switch {
	case h.chunked:
		return c.discardChunks()
	case h.length >= 0:
		n, err := c.answers.Discard(int(h.length))
		if err != nil {
			return int64(n), fmt.Errorf("reading body: %w", err)
		}
		return int64(n), nil
	case h.keep:
		return 0, fmt.Errorf("%w: it has neither a Content-Length nor chunks", errProtocol)
	default:
		n, err := io.Copy(io.Discard, c.answers)
		if err != nil {
			return n, fmt.Errorf("reading body: %w", err)
		}
		return n, nil
	}
}

func (c *conn) discardChunks() (int64, error) {
	var sum int64
	for {
		size, err := c.readChunkSize()
		if err != nil {
			return sum, err
		}
		if size == 0 {
			return sum, c.skipTrailers()
		}
		if _, err := c.answers.Discard(int(size) + len("\r\n")); err != nil {
			return sum, fmt.Errorf("reading chunk: %w", err)
		}
		sum += size
	}
}

func (c *conn) readChunkSize() (int64, error) {
	line, err := c.readLine()
	if err != nil {
		return 0, fmt.Errorf("reading chunk size: %w", err)
	}
	digits, _, _ := bytes.Cut(line, []byte(";"))
	size, err := strconv.ParseInt(string(bytes.TrimSpace(digits)), 16, 64)
	if err != nil || size < 0 {
		return 0, fmt.Errorf("%w: chunk size %q", errProtocol, line)
	}
	return size, nil
}

func (c *conn) skipTrailers() error {
	for {
		line, err := c.readLine()
		if err != nil {
			return fmt.Errorf("reading trailers: %w", err)
		}
		if len(line) == 0 {
			return nil
		}
	}
}

// readLine returns the next line without its end. It is valid until the next
// read only.
func (c *conn) readLine() ([]byte, error) {
	line, err := c.answers.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
