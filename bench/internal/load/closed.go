package load

import (
	"context"
	"net"
	"time"
)

// answerBuffer is the read buffer of an ordinary client connection.
const answerBuffer = 16 << 10

// closedClient repeats its request over one connection, which it opens again
// after an error.
func (s Stream) closedClient(ctx context.Context, start time.Time) []Sample {
	var samples []Sample
	request := s.request()
	line := lineTo{addr: s.Addr, buffer: answerBuffer}
	defer line.hangUp()
	for n := 0; s.Requests == 0 || n < s.Requests; n++ {
		due := time.Now()
		if ctx.Err() != nil || due.Sub(start) >= s.Duration {
			break
		}
		deadline := due.Add(s.Timeout)
		cut := start.Add(s.Duration + s.Cut)
		if s.Cut > 0 && cut.Before(deadline) {
			deadline = cut
		}
		got, err := line.ask(ctx, request, deadline)
		sample := Sample{Start: due.Sub(start), Took: time.Since(due)}
		switch {
		case err == nil:
			sample.Status = got.status
		case s.Cut > 0 && !time.Now().Before(cut):
			return samples
		}
		samples = append(samples, sample)
		if sample.Refused() && s.Pause > 0 {
			rest(ctx, s.Pause)
		}
	}
	return samples
}

// lineTo is a client's connection to an address, opened when it is needed.
type lineTo struct {
	addr   string
	buffer int   // for answers
	conn   *conn // nil: not open
}

// ask sends the request over the open connection, or over a new one.
func (l *lineTo) ask(ctx context.Context, request []byte, deadline time.Time) (answer, error) {
	if l.conn == nil {
		var err error
		if l.conn, err = dial(ctx, &net.Dialer{Deadline: deadline}, l.addr, l.buffer); err != nil {
			return answer{}, err
		}
	}
	got, err := l.conn.roundTrip(request, deadline)
	if err != nil || !got.keep {
		l.hangUp()
	}
	return got, err
}

// hangUp closes the connection, if one is open.
func (l *lineTo) hangUp() {
	if l.conn == nil {
		return
	}
	// The connection is not needed again, so a failing close loses nothing.
	_ = l.conn.Close()
	l.conn = nil
}

// rest waits for d or until the context ends.
func rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
