package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"
)

// eventReader reads server-sent events whose data is the time at which they were
// sent, in nanoseconds since 1970. Both ends read the clock of one machine.
func (s Stream) eventReader(ctx context.Context, start time.Time) []Sample {
	due := time.Now()
	samples, err := s.readEvents(ctx, start, due.Add(s.Timeout))
	if err != nil {
		samples = append(samples, Sample{Start: due.Sub(start), Took: time.Since(due)})
	}
	return samples
}

func (s Stream) readEvents(ctx context.Context, start, deadline time.Time) ([]Sample, error) {
	c, err := dial(ctx, &net.Dialer{Deadline: deadline}, s.Addr, slowBuffer)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // it was only read from
	if err := c.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("setting deadline: %w", err)
	}
	if _, err := c.Write(s.request()); err != nil {
		return nil, fmt.Errorf("sending: %w", err)
	}
	h, err := c.readHead()
	if err != nil {
		return nil, err
	}
	if h.status != http.StatusOK {
		return []Sample{{Start: time.Since(start), Status: h.status}}, nil
	}
	return eventDelays(c.body(h), start)
}

// body returns a reader of the body that belongs to h.
func (c *conn) body(h head) io.Reader {
	switch {
	case h.chunked:
		return httputil.NewChunkedReader(c.answers)
	case h.length >= 0:
		return io.LimitReader(c.answers, h.length)
	default:
		return c.answers
	}
}

// eventDelays makes a sample of each event of the stream.
func eventDelays(body io.Reader, start time.Time) ([]Sample, error) {
	var samples []Sample
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		stamp, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData {
			continue
		}
		now := time.Now()
		nanos, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil {
			return samples, fmt.Errorf("%w: event %q", errProtocol, stamp)
		}
		delay := now.Sub(time.Unix(0, nanos))
		samples = append(samples, Sample{Start: now.Sub(start), Took: delay, Status: http.StatusOK})
	}
	if err := lines.Err(); err != nil {
		return samples, fmt.Errorf("reading events: %w", err)
	}
	return samples, nil
}
