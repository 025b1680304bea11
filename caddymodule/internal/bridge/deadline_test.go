package bridge_test

import (
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A handler that bounds each of its writes gets on with a client that is slow, and is
// not blocked for longer by one that takes nothing.
func TestWriteDeadline(t *testing.T) {
	t.Parallel()
	play(t, "ends a write that a full spool blocks, and cuts the response", func(s *setting) {
		b := newBlocker()
		s.client.onWrite = b.write
		conn := &waking{controls: controls{client: s.client}, woken: func() { close(b.open) }}
		w := s.beginOn(conn)
		s.write(5)
		began := time.Now()
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(began.Add(3*time.Second)), nil)
		_, err := w.Write(pattern(mib))
		isErr(s.t, "a blocked write", err, os.ErrDeadlineExceeded)
		if took := time.Since(began); took < 3*time.Second || took >= stallAfter {
			s.t.Errorf("blocked for %v", took)
		}
		if conn.writing.IsZero() {
			s.t.Error("the helper was left in a write to a client that takes nothing")
		}
		_, err = w.Write(pattern(1))
		isErr(s.t, "another write", err, os.ErrDeadlineExceeded)
		w.Finish(nil)
		if !w.Lost() || !w.Broken() {
			s.t.Errorf("lost %v, broken %v", w.Lost(), w.Broken())
		}
	})
	play(t, "can be moved while a write is blocked", func(s *setting) {
		b := newBlocker()
		s.client.onWrite = b.write
		w := s.beginOn(&waking{controls: controls{client: s.client}, woken: func() { close(b.open) }})
		s.write(5)
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(time.Now().Add(time.Hour)), nil)
		began := time.Now()
		go func() {
			<-time.After(time.Second)
			_ = w.SetWriteDeadline(time.Now())
		}()
		_, err := w.Write(pattern(mib))
		isErr(s.t, "a blocked write", err, os.ErrDeadlineExceeded)
		if took := time.Since(began); took != time.Second {
			s.t.Errorf("blocked for %v", took)
		}
		w.Finish(nil)
	})
	play(t, "that has passed fails writes with room, and what came before arrives", func(s *setting) {
		w := s.begin()
		s.write(5 * kib)
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(time.Now()), nil)
		n, err := w.Write(pattern(5))
		isErr(s.t, "a write that is late", err, os.ErrDeadlineExceeded)
		if n != 0 {
			s.t.Errorf("it took %d bytes", n)
		}
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(time.Time{}), nil)
		_, err = w.Write(pattern(5))
		isErr(s.t, "a write after one that has failed", err, os.ErrDeadlineExceeded)
		w.Finish(nil)
		s.got(5 * kib)
		s.did("head 200, write 2048, write 3072, flush")
		if !w.Lost() {
			s.t.Error("what is missing looks like the end")
		}
	})
	play(t, "does nothing to what was written in time", func(s *setting) {
		b := newBlocker()
		s.client.onWrite = b.write
		w := s.begin()
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(time.Now().Add(time.Second)), nil)
		s.write(200 * kib)
		go func() {
			<-time.After(time.Hour)
			close(b.open)
		}()
		w.Finish(nil) // an hour later
		s.got(200 * kib)
		if w.Lost() {
			s.t.Error("a complete response was cut")
		}
	})
	play(t, "can be taken back", func(s *setting) {
		w := s.begin()
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(time.Now().Add(time.Second)), nil)
		s.write(5)
		pass(2 * time.Second)
		isErr(s.t, "flush", w.FlushError(), os.ErrDeadlineExceeded)
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(time.Time{}), nil)
		isErr(s.t, "flush", w.FlushError(), nil)
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(time.Now().Add(time.Second)), nil)
		if _, err := w.Write(pattern(6)[5:]); err != nil {
			s.t.Error(err)
		}
		w.Finish(nil)
		s.got(6)
	})
}

// Before the head it is unknown whether the body will be spooled.
func TestWriteDeadlineBeforeTheHead(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(time.Hour)
	for name, status := range map[string]int{"no body": http.StatusNoContent, "an upgrade": http.StatusSwitchingProtocols} {
		play(t, "reaches the connection with "+name, func(s *setting) {
			conn := &controls{client: s.client}
			w := s.beginOn(conn)
			isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(soon), nil)
			if !conn.writing.IsZero() {
				s.t.Error("it has reached the connection before that was known")
			}
			w.WriteHeader(status)
			if !conn.writing.Equal(soon) {
				s.t.Errorf("writing until %v", conn.writing)
			}
			w.Finish(nil)
		})
	}
	play(t, "reaches a connection that is taken over", func(s *setting) {
		conn := &controls{client: s.client}
		w := s.beginOn(conn)
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(soon), nil)
		_, _, err := w.Hijack()
		isErr(s.t, "hijack", err, nil)
		if !conn.writing.Equal(soon) {
			s.t.Errorf("writing until %v", conn.writing)
		}
	})
	play(t, "ends a write that a full spool blocks", func(s *setting) {
		b := newBlocker()
		s.client.onWrite = b.write
		w := s.beginOn(&waking{controls: controls{client: s.client}, woken: func() { close(b.open) }})
		began := time.Now()
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(began.Add(time.Second)), nil)
		_, err := w.Write(pattern(mib))
		isErr(s.t, "a blocked write", err, os.ErrDeadlineExceeded)
		if took := time.Since(began); took >= stallAfter {
			s.t.Errorf("blocked for %v", took)
		}
		w.Finish(nil)
	})
	play(t, "counts for a spooled body", func(s *setting) {
		w := s.begin()
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(time.Now()), nil)
		_, err := w.Write(pattern(5))
		isErr(s.t, "write", err, os.ErrDeadlineExceeded)
		w.Finish(nil)
	})
}

// The deadline for reading a body that was taken in is the body's, and not the
// connection's: net/http would take what it finds there for the client's departure.
func TestReadDeadlineOfABody(t *testing.T) {
	t.Parallel()
	play(t, "in the spool", func(s *setting) {
		soon := time.Now().Add(time.Hour)
		conn, body := &controls{client: s.client}, new(bodyOfRequest)
		s.opts.Body = body
		w := s.beginOn(conn)
		isErr(s.t, "SetReadDeadline", w.SetReadDeadline(soon), nil)
		if !body.until.Equal(soon) || !conn.reading.IsZero() {
			s.t.Errorf("the body until %v, the connection until %v", body.until, conn.reading)
		}
		isErr(s.t, "EnableFullDuplex", w.EnableFullDuplex(), nil)
		if conn.duplex {
			s.t.Error("full duplex has reached the connection, which has nothing to read")
		}
		w.Finish(nil)
	})
}

// Controls that come after the end, from a goroutine of the handler, harm nothing.
func TestDeadlinesAfterTheEnd(t *testing.T) {
	t.Parallel()
	play(t, "are accepted", func(s *setting) {
		w := s.begin()
		s.write(5)
		w.Finish(nil)
		isErr(s.t, "SetWriteDeadline", w.SetWriteDeadline(time.Now()), nil)
		synctest.Wait()
		s.got(5)
	})
}

// waking is a connection whose writes end when it gets a deadline.
type waking struct {
	controls
	woken func()
}

func (c *waking) SetWriteDeadline(t time.Time) error {
	c.woken()
	return c.controls.SetWriteDeadline(t)
}

type bodyOfRequest struct{ until time.Time }

func (b *bodyOfRequest) SetReadDeadline(t time.Time) { b.until = t }
