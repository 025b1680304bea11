package load

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"
)

// A slow client uses the segments of an Ethernet and a small window. With the
// 64 KiB segments of loopback the kernel buffers a whole response of 1 MiB,
// so every proxy passes and the test proves nothing.
const (
	ethernetMSS  = 1460
	slowReceive  = 16 << 10
	slowBuffer   = 4 << 10
	pacePerSlice = 20 // slices of a second, in each of which a slow client reads or writes
)

// slowReader sends its requests at full speed and reads the answers at
// s.Pace.
func (s Stream) slowReader(ctx context.Context, start time.Time) []Sample {
	request := s.request()
	return s.slowly(ctx, start, func(c *conn, deadline time.Time) (answer, error) {
		c.answers = bufio.NewReaderSize(&pacedReader{ctx: ctx, conn: c.Conn, pace: s.Pace}, slowBuffer)
		return c.roundTrip(request, deadline)
	})
}

// slowWriter sends its body at s.Pace and reads its answers at full speed.
func (s Stream) slowWriter(ctx context.Context, start time.Time) []Sample {
	top := s.requestHead()
	return s.slowly(ctx, start, func(c *conn, deadline time.Time) (answer, error) {
		if err := c.SetDeadline(deadline); err != nil {
			return answer{}, fmt.Errorf("setting deadline: %w", err)
		}
		if _, err := c.Write(top); err != nil {
			return answer{}, fmt.Errorf("sending head: %w", err)
		}
		// A server that rejects early stops reading; its answer still counts.
		_ = writePaced(ctx, c.Conn, s.Body, s.Pace)
		return c.readAnswer()
	})
}

// slowly sends s.Requests requests, each over a separate connection. Rejected
// ones do not count if the stream has a pause.
func (s Stream) slowly(
	ctx context.Context, start time.Time, request func(*conn, time.Time) (answer, error),
) []Sample {
	var samples []Sample
	for left := s.Requests; left > 0; left-- {
		due := time.Now()
		if ctx.Err() != nil || due.Sub(start) >= s.Duration {
			break
		}
		got, err := s.slowRequest(ctx, due.Add(s.Timeout), request)
		sample := Sample{Start: due.Sub(start), Took: time.Since(due)}
		if err == nil {
			sample.Status = got.status
		}
		samples = append(samples, sample)
		if sample.Refused() && s.Pause > 0 {
			left++
			rest(ctx, s.Pause)
		}
	}
	return samples
}

func (s Stream) slowRequest(
	ctx context.Context, deadline time.Time, request func(*conn, time.Time) (answer, error),
) (answer, error) {
	c, err := dial(ctx, &net.Dialer{Deadline: deadline, Control: likeEthernet}, s.Addr, slowBuffer)
	if err != nil {
		return answer{}, err
	}
	got, err := request(c, deadline)
	if closeErr := c.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("closing: %w", closeErr)
	}
	return got, err
}

// pacedReader reads pace bytes per second, counted from the first byte, so
// that a wait for the answer allows no burst.
type pacedReader struct {
	ctx   context.Context // context of the client; this reader lives no longer than one of its calls
	conn  net.Conn
	pace  int
	first time.Time // zero: no byte read yet
	read  int
}

// Read implements io.Reader.
func (r *pacedReader) Read(p []byte) (int, error) {
	if !r.first.IsZero() {
		rest(r.ctx, time.Until(r.first.Add(atPace(r.read, r.pace))))
	}
	n, err := r.conn.Read(p[:min(len(p), max(1, r.pace/pacePerSlice))])
	if r.first.IsZero() && n > 0 {
		r.first = time.Now()
	}
	r.read += n
	return n, err
}

// writePaced writes size bytes, pace bytes per second.
func writePaced(ctx context.Context, conn net.Conn, size, pace int) error {
	chunk := make([]byte, max(1, pace/pacePerSlice))
	start := time.Now()
	for sent := 0; sent < size; {
		rest(ctx, time.Until(start.Add(atPace(sent, pace))))
		n, err := conn.Write(chunk[:min(len(chunk), size-sent)])
		if err != nil {
			return fmt.Errorf("sending body: %w", err)
		}
		sent += n
	}
	return nil
}

// atPace returns the time for n bytes.
func atPace(n, pace int) time.Duration {
	return time.Duration(float64(n) / float64(pace) * float64(time.Second))
}
