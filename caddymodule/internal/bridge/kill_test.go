package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// refused wants all that the killed run does to fail with the cause.
func (s *setting) refused(cause error) {
	s.t.Helper()
	s.w.WriteHeader(http.StatusOK)
	_, err := s.w.Write(pattern(5))
	isErr(s.t, "write", err, cause)
	isErr(s.t, "flush", s.w.FlushError(), cause)
	_, _, err = s.w.Hijack()
	isErr(s.t, "hijack", err, cause)
}

func TestKill(t *testing.T) {
	t.Parallel()
	play(t, "before the head leaves the answer to the caller", func(s *setting) {
		s.client.header.Set("Server", "Caddy")
		w := s.begin()
		w.Header().Set("X-Run", "1")
		w.Header().Set(http.TrailerPrefix+"X-Run", "1")
		if !w.KillBeforeHead(errKilled) {
			s.t.Error("too late")
		}
		if w.KillBeforeHead(errEnded) {
			s.t.Error("killed twice")
		}
		s.refused(errKilled)
		w.Finish(errKilled)
		s.did("")
		if len(s.client.header) != 1 {
			s.t.Errorf("the client's header is %v", s.client.header)
		}
		if w.Status() != 0 || w.HeadPassedOn() || w.Answered() != 0 || len(s.owner.heads) != 0 {
			s.t.Errorf("status %d, passed on %v, answered %v, told %v", w.Status(), w.HeadPassedOn(), w.Answered(), s.owner.heads)
		}
	})
	play(t, "of any kind before the head leaves the answer to the caller", func(s *setting) {
		w := s.begin()
		if !w.Kill(errKilled) {
			s.t.Error("too late")
		}
		if w.Kill(errEnded) {
			s.t.Error("killed twice")
		}
		s.refused(errKilled)
		w.Finish(errKilled)
		s.did("")
	})
	play(t, "before the head comes too late after it", func(s *setting) {
		w := s.begin()
		w.WriteHeader(http.StatusOK)
		if w.KillBeforeHead(errKilled) {
			s.t.Error("killed")
		}
		s.write(5)
		w.Finish(nil)
		s.did("head 200, write 5")
	})
	for _, size := range []int{0, 5, 5 * kib, inlineLimit + 5} {
		play(t, fmt.Sprintf("after the head keeps what came, %d bytes", size), func(s *setting) {
			w := s.begin()
			w.Header().Set("Trailer", "X-Sum")
			w.WriteHeader(http.StatusOK)
			s.write(size)
			if w.Kill(errKilled) {
				s.t.Error("too early")
			}
			s.refused(errKilled)
			w.Header().Set("X-Sum", "1")
			w.Finish(errKilled)
			s.got(size)
			if !w.Lost() || s.client.header.Get("X-Sum") != "" {
				s.t.Errorf("lost %v, trailer %q", w.Lost(), s.client.header.Get("X-Sum"))
			}
			if told := s.owner.timesLost(); told != 0 {
				s.t.Errorf("told of a lost client %d times", told)
			}
		})
	}
	play(t, "wakes a run that waits for room", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{Memory: 64 * kib}
		block := newBlocker()
		s.client.onWrite = block.write
		w := s.begin()
		time.AfterFunc(time.Second, func() { w.Kill(errKilled) })
		began := time.Now()
		_, err := w.Write(pattern(mib))
		isErr(s.t, "write", err, errKilled)
		if took := time.Since(began); took != time.Second {
			s.t.Errorf("woken after %v", took)
		}
		close(block.open)
		w.Finish(errKilled)
		if !w.Lost() {
			s.t.Error("not lost")
		}
	})
	play(t, "wakes a run that writes to the client itself", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{}
		conn := &controls{client: s.client}
		outer := &bystander{ResponseWriter: conn}
		w := s.beginOn(wrapped{outer})
		s.client.onWrite = func([]byte) error {
			outer.used = false
			w.Kill(errKilled)
			if !conn.writing.Equal(time.Now()) || outer.used {
				s.t.Errorf("write deadline %v, want now; by outer handlers %v", conn.writing, outer.used)
			}
			return errGone
		}
		_, err := w.Write(pattern(5))
		isErr(s.t, "write", err, errGone)
		s.refused(errKilled)
		w.Finish(errKilled)
		s.did("head 200, write 5")
		if !w.Lost() || w.Broken() {
			s.t.Errorf("lost %v, broken %v", w.Lost(), w.Broken())
		}
	})
	play(t, "leaves the connection alone where the run does not write", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{}
		conn := &controls{client: s.client}
		w := s.beginOn(conn)
		_, _ = w.Write(pattern(5))
		_ = w.FlushError()
		w.Kill(errKilled)
		w.Finish(errKilled)
		if !conn.writing.IsZero() {
			s.t.Errorf("write deadline %v", conn.writing)
		}
		s.did("head 200, write 5, flush, flush")
	})
	for name, bounds := range map[string]spool.Bounds{"does": {Memory: 64 * kib}, "does not": {}} {
		play(t, "goes to the connection where a pool around it does not spool, which it "+name, func(s *setting) {
			conn := &controls{client: s.client}
			s.opts.Stream.Bounds = bounds
			outer, inner := s.beginOn(conn), new(bridge.Writer)
			o := s.opts
			o.Stream.Bounds, o.Owner = spool.Bounds{}, new(owner)
			inner.Init(wrapped{outer}, s.req, o)
			s.client.onWrite = func([]byte) error { inner.Kill(errKilled); return nil }
			_, _ = inner.Write(pattern(5))
			if spooled := bounds.Sum() > 0; conn.writing.IsZero() != spooled {
				s.t.Errorf("write deadline %v", conn.writing)
			}
			inner.Finish(errKilled)
			outer.Finish(errKilled)
		})
	}
	play(t, "does not let the run finish", func(s *setting) {
		s.opts.Finish = true
		s.opts.Stream.Bounds = spool.Bounds{}
		s.client.onWrite = func([]byte) error {
			s.w.Kill(errKilled)
			s.leave()
			return errGone
		}
		_, err := s.begin().Write(pattern(5))
		isErr(s.t, "write", err, errGone)
		s.w.Finish(errKilled)
	})
	play(t, "when nobody is there to read changes little", func(s *setting) {
		s.begin()
		s.leave()
		s.write(5)
		s.w.Kill(errKilled)
		s.refused(errKilled)
		s.w.Finish(errKilled)
		s.did("")
	})
}

// The head and a kill race in each round. Exactly one of them answers.
func TestKillAgainstHead(t *testing.T) {
	t.Parallel()
	budget := newBudget(t)
	var heads, kills int
	for round := range 1000 {
		s := &setting{t: t, client: newClient(), budget: budget, owner: new(owner), w: new(bridge.Writer)}
		s.req = httptest.NewRequest(http.MethodGet, "/", nil)
		s.opts.Owner, s.opts.Stream.Budget = s.owner, budget
		s.opts.Nudge = never
		if round%2 == 0 {
			s.opts.Stream.Bounds = spool.Bounds{Memory: 64 * kib}
		}
		w := s.begin()
		w.Header().Set("X-Run", "1")
		var killed bool
		var racers sync.WaitGroup
		start := make(chan struct{})
		racers.Go(func() {
			<-start
			killed = w.KillBeforeHead(errKilled)
		})
		racers.Go(func() {
			<-start
			if round%3 == 0 {
				w.AnswerStuck(http.StatusGatewayTimeout, "late", nil) // it may be its turn
			}
		})
		close(start)
		w.WriteHeader(http.StatusOK)
		_, err := w.Write(pattern(5))
		racers.Wait()
		w.Finish(nil)
		switch {
		case killed && err == nil, !killed && err != nil:
			t.Fatalf("killed %v, and the run's write: %v", killed, err)
		case killed && w.Answered() != 0:
			kills++
			if s.client.did() != "head 504, write 4, flush" || s.client.head.Get("X-Run") != "" {
				t.Fatalf("killed and answered, and the client got %q, %v", s.client.did(), s.client.head)
			}
		case killed:
			kills++
			if s.client.did() != "" || len(s.client.header) != 0 || len(s.owner.heads) != 0 {
				t.Fatalf("killed, and the client got %q, %v", s.client.did(), s.client.header)
			}
		default:
			heads++
			if s.client.did() != "head 200, write 5" || len(s.owner.heads) != 1 || w.Answered() != 0 {
				t.Fatalf("not killed, and the client got %q", s.client.did())
			}
		}
	}
	t.Logf("%d heads, %d kills", heads, kills)
}

// A kill, the client's leaving and the run's end in any order give all back.
func TestKillAtAnyTime(t *testing.T) {
	t.Parallel()
	budget := newBudget(t)
	var runs sync.WaitGroup
	for round := range 200 {
		runs.Go(func() {
			ctx, leave := context.WithCancel(context.Background())
			s := &setting{t: t, client: newClient(), budget: budget, owner: new(owner), w: new(bridge.Writer)}
			s.req = httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			s.opts = bridge.Options{Nudge: never, Owner: s.owner, Finish: round%4 == 0}
			s.opts.Stream.Budget = budget
			s.opts.Stream.Bounds = spool.Bounds{Memory: 40 * kib, File: 100 * kib}
			w := s.begin()
			var others sync.WaitGroup
			others.Go(func() { w.Kill(errKilled) })
			others.Go(leave)
			others.Go(func() { w.AnswerStuck(http.StatusGatewayTimeout, "late", nil) })
			var next inTurn
			for range round % 50 {
				_, _ = w.Write(next.take(10 * kib))
				_ = w.FlushError()
			}
			w.Finish(nil)
			others.Wait()
			if got := s.client.got(); len(got) > 4 && string(got) != string(pattern(len(got))) {
				t.Errorf("round %d: the client got %d bytes that are not the run's", round, len(got))
			}
		})
	}
	runs.Wait()
}

func TestAnswerStuck(t *testing.T) {
	t.Parallel()
	const late = "Gateway Timeout\n"
	play(t, "answers for a run that was killed", func(s *setting) {
		s.client.header.Set("Server", "Caddy")
		outer := &bystander{ResponseWriter: s.client}
		w := s.beginOn(wrapped{outer})
		w.Header().Set("X-Run", "1")
		w.KillBeforeHead(errKilled)
		w.AnswerStuck(http.StatusGatewayTimeout, late, nil)
		s.did("head 504, write 16, flush")
		if got := string(s.client.got()); got != late {
			s.t.Errorf("body %q", got)
		}
		for name, want := range map[string]string{
			"Content-Length": "16", "Connection": "close", "Server": "Caddy", "X-Run": "",
			"Content-Type": "text/plain; charset=utf-8",
		} {
			if got := s.client.head.Get(name); got != want {
				s.t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if w.Answered() != http.StatusGatewayTimeout || !w.HeadPassedOn() || outer.used {
			s.t.Errorf("answered %v, passed on %v, by outer handlers %v", w.Answered(), w.HeadPassedOn(), outer.used)
		}
		w.AnswerStuck(http.StatusGatewayTimeout, late, nil)
		s.refused(errKilled)
		w.Finish(errKilled)
		s.did("head 504, write 16, flush")
	})
	play(t, "does not speak of connections on HTTP/2", func(s *setting) {
		s.req.ProtoMajor = 2
		s.begin().KillBeforeHead(errKilled)
		s.w.AnswerStuck(http.StatusGatewayTimeout, late, nil)
		if got := s.client.head.Get("Connection"); got != "" {
			s.t.Errorf("Connection %q", got)
		}
		s.w.Finish(errKilled)
	})
	for name, before := range map[string]func(w *bridge.Writer){
		"not killed": func(*bridge.Writer) {},
		"begun":      func(w *bridge.Writer) { w.WriteHeader(http.StatusOK); w.Kill(errKilled) },
		"ended":      func(w *bridge.Writer) { w.KillBeforeHead(errKilled); w.Finish(errKilled) },
	} {
		play(t, "does nothing for a run that is "+name, func(s *setting) {
			w := s.begin()
			before(w)
			did := s.client.did()
			w.AnswerStuck(http.StatusGatewayTimeout, late, nil)
			s.did(did)
			if w.Answered() != 0 {
				s.t.Error("answered")
			}
			w.Finish(nil)
		})
	}
	play(t, "is waited for by the run's end", func(s *setting) {
		block, passed := newBlocker(), false
		s.client.onHead = func(int) {
			block.wait()
			passed = true // seen to be a race if the end does not wait
		}
		w := s.begin()
		w.KillBeforeHead(errKilled)
		go w.AnswerStuck(http.StatusGatewayTimeout, late, nil)
		<-block.reached
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			w.Finish(errKilled)
		}()
		close(block.open)
		<-finished
		if !passed || w.Answered() == 0 {
			s.t.Errorf("passed %v, answered %v", passed, w.Answered())
		}
	})
	// pools nests one pool's writer in another's.
	pools := func(s *setting) (outer, inner *bridge.Writer) {
		outer, inner = s.begin(), new(bridge.Writer)
		o := s.opts
		o.Owner = new(owner)
		inner.Init(wrapped{outer}, s.req, o)
		return outer, inner
	}
	play(t, "goes through the pool around it", func(s *setting) {
		outer, inner := pools(s)
		inner.KillBeforeHead(errKilled)
		inner.AnswerStuck(http.StatusGatewayTimeout, late, nil)
		s.did("head 504, write 16, flush")
		if outer.Answered() != http.StatusGatewayTimeout || inner.Answered() != http.StatusGatewayTimeout {
			s.t.Errorf("outer answered %v, inner %v", outer.Answered(), inner.Answered())
		}
		inner.Finish(errKilled)
		outer.WriteHeader(http.StatusGatewayTimeout)
		outer.Finish(nil)
		s.did("head 504, write 16, flush")
	})
	play(t, "does not go past a pool around it that was killed", func(s *setting) {
		outer, inner := pools(s)
		outer.KillBeforeHead(errKilled)
		inner.KillBeforeHead(errKilled)
		inner.AnswerStuck(http.StatusGatewayTimeout, late, nil)
		s.did("")
		outer.AnswerStuck(http.StatusGatewayTimeout, late, nil)
		s.did("head 504, write 16, flush")
		inner.Finish(errKilled)
		outer.Finish(errKilled)
	})
	play(t, "leaves a nested response that goes well alone", func(s *setting) {
		outer, inner := pools(s)
		_, err := inner.Write(pattern(5 * kib))
		isErr(s.t, "write", err, nil)
		isErr(s.t, "flush", inner.FlushError(), nil)
		synctest.Wait()
		s.got(5 * kib)
		inner.Finish(nil)
		outer.Finish(nil)
		s.got(5 * kib)
	})
}

// bystander is a writer of an outer handler, which may have no lock.
type bystander struct {
	http.ResponseWriter
	used bool
}

func (b *bystander) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *bystander) WriteHeader(status int) {
	b.used = true
	b.ResponseWriter.WriteHeader(status)
}

func (b *bystander) SetWriteDeadline(t time.Time) error {
	b.used = true
	return http.NewResponseController(b.ResponseWriter).SetWriteDeadline(t)
}

func TestControls(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(time.Hour)
	play(t, "reach the connection", func(s *setting) {
		conn := &controls{client: s.client}
		s.opts.Stream.Bounds = spool.Bounds{}
		c := http.NewResponseController(s.beginOn(wrapped{conn}))
		for name, err := range map[string]error{
			"SetReadDeadline":  c.SetReadDeadline(soon),
			"SetWriteDeadline": c.SetWriteDeadline(soon),
			"EnableFullDuplex": c.EnableFullDuplex(),
			"Flush":            c.Flush(),
		} {
			isErr(s.t, name, err, nil)
		}
		if !conn.reading.Equal(soon) || !conn.writing.Equal(soon) || !conn.duplex {
			s.t.Errorf("reading until %v, writing until %v, duplex %v", conn.reading, conn.writing, conn.duplex)
		}
		s.w.Finish(nil)
	})
	play(t, "of writing do not while the body is spooled, and are accepted", func(s *setting) {
		conn := &controls{client: s.client}
		w := s.beginOn(conn)
		c := http.NewResponseController(w)
		isErr(s.t, "SetWriteDeadline before the head", c.SetWriteDeadline(soon), nil)
		w.WriteHeader(http.StatusOK)
		isErr(s.t, "SetReadDeadline", c.SetReadDeadline(soon), nil)
		isErr(s.t, "SetWriteDeadline", c.SetWriteDeadline(soon), nil)
		isErr(s.t, "EnableFullDuplex", c.EnableFullDuplex(), nil)
		if !conn.writing.IsZero() || conn.duplex {
			s.t.Errorf("writing until %v, duplex %v", conn.writing, conn.duplex)
		}
		w.Finish(nil)
	})
	play(t, "may be missing", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{}
		c := http.NewResponseController(s.begin())
		isErr(s.t, "SetReadDeadline", c.SetReadDeadline(soon), http.ErrNotSupported)
		isErr(s.t, "SetWriteDeadline", c.SetWriteDeadline(soon), http.ErrNotSupported)
		isErr(s.t, "EnableFullDuplex", c.EnableFullDuplex(), http.ErrNotSupported)
		s.w.Finish(nil)
	})
}

func TestHijack(t *testing.T) {
	t.Parallel()
	errNotNow := errors.New("not now")
	// hijack wants an error and a number of hijacks of the connection.
	hijack := func(s *setting, conn *controls, want error, times int) {
		s.t.Helper()
		_, _, err := http.NewResponseController(s.w).Hijack()
		isErr(s.t, "hijack", err, want)
		if conn.hijacked != times {
			s.t.Errorf("the connection was hijacked %d times, want %d", conn.hijacked, times)
		}
	}
	play(t, "after 101 hands the connection over", func(s *setting) {
		conn := &controls{client: s.client}
		s.beginOn(conn).WriteHeader(http.StatusSwitchingProtocols)
		hijack(s, conn, nil, 1)
		_, err := s.w.Write(pattern(5))
		isErr(s.t, "write", err, http.ErrHijacked)
		isErr(s.t, "flush", s.w.FlushError(), nil)
		hijack(s, conn, http.ErrHijacked, 1)
		if s.w.KillBeforeHead(errKilled) || s.w.Kill(errKilled) {
			s.t.Error("killed before the head")
		}
		s.w.Finish(nil)
		s.did("head 101")
		s.told(http.StatusSwitchingProtocols, true)
		if s.owner.upgraded != 1 {
			s.t.Errorf("told of %d upgrades", s.owner.upgraded)
		}
	})
	play(t, "without a head hands the connection over", func(s *setting) {
		conn := &controls{client: s.client}
		s.beginOn(conn).Header().Set("X-Run", "1")
		hijack(s, conn, nil, 1)
		s.w.WriteHeader(http.StatusOK)
		if s.w.KillBeforeHead(errKilled) {
			s.t.Error("killed before the head")
		}
		s.w.Finish(nil)
		s.did("")
		s.told(http.StatusSwitchingProtocols, true)
		if s.owner.upgraded != 1 || len(s.client.header) != 0 {
			s.t.Errorf("told of %d upgrades, header %v", s.owner.upgraded, s.client.header)
		}
	})
	play(t, "is refused while the body is spooled", func(s *setting) {
		conn := &controls{client: s.client}
		s.beginOn(conn).WriteHeader(http.StatusOK)
		hijack(s, conn, http.ErrNotSupported, 0)
		s.write(5)
		s.w.Finish(nil)
		s.did("head 200, write 5")
	})
	play(t, "is refused when the client has left", func(s *setting) {
		conn := &controls{client: s.client}
		s.beginOn(conn)
		s.leave()
		s.w.WriteHeader(http.StatusSwitchingProtocols)
		hijack(s, conn, http.ErrNotSupported, 0)
		s.w.Finish(nil)
		s.did("")
	})
	play(t, "that fails leaves an ordinary response", func(s *setting) {
		conn := &controls{client: s.client, hijackErr: errNotNow}
		s.beginOn(conn)
		hijack(s, conn, errNotNow, 1)
		s.write(5)
		s.w.Finish(nil)
		s.did("head 200, write 5")
		s.told(http.StatusOK, false)
	})
	play(t, "of a writer that cannot leaves an ordinary response", func(s *setting) {
		s.begin()
		_, _, err := s.w.Hijack()
		isErr(s.t, "hijack", err, http.ErrNotSupported)
		s.write(5)
		s.w.Finish(nil)
		s.did("head 200, write 5")
	})
}
