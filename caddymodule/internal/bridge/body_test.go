package bridge_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

func TestBody(t *testing.T) {
	t.Parallel()
	play(t, "that is small is written by the run, without a second goroutine", func(s *setting) {
		s.begin()
		s.write(100)
		s.did("head 200, write 100")
		s.w.Finish(nil)
		s.did("head 200, write 100")
		s.got(100)
		if here := goroutine(); s.client.calls[1].goroutine != here {
			s.t.Error("the body came on another goroutine")
		}
		if s.owner.timesLost() != 0 {
			s.t.Error("told of a lost client")
		}
	})
	// Writers such as that of "encode" keep the head until the first byte: so
	// that must come on the run's goroutine as well, however large the body is.
	play(t, "begins on the run's goroutine", func(s *setting) {
		s.begin()
		isErr(s.t, "flush", s.w.FlushError(), nil)
		pass(10 * nudgeAfter) // the helper runs
		s.write(0)
		s.write(inlineLimit + 1)
		s.w.Finish(nil)
		s.got(inlineLimit + 1)
		here := goroutine()
		for i, call := range s.client.calls {
			if lead := i < 3; lead != (call.goroutine == here) {
				s.t.Errorf("call %d, %q, on goroutine %s, the run is %s", i, call.what, call.goroutine, here)
			}
		}
		if got := s.client.calls[2].what; got != "write 2048" {
			s.t.Errorf("led with %q", got)
		}
	})
	play(t, "up to the limit waits for the end of the run", func(s *setting) {
		s.opts.Nudge = never
		s.begin()
		var next inTurn
		for range inlineLimit / kib {
			if _, err := s.w.Write(next.take(kib)); err != nil {
				s.t.Fatal(err)
			}
		}
		synctest.Wait()
		s.did("head 200, write 1024")
		s.w.Finish(nil)
		s.got(inlineLimit)
		for _, call := range s.client.calls {
			if here := goroutine(); call.goroutine != here {
				s.t.Errorf("%s on another goroutine", call.what)
			}
		}
	})
	play(t, "that is larger is handed on while the run goes on", func(s *setting) {
		s.opts.Nudge = never
		s.begin()
		s.write(inlineLimit + 1)
		synctest.Wait()
		s.got(inlineLimit + 1)
		if here := goroutine(); s.client.calls[2].goroutine == here {
			s.t.Error("the run's own goroutine has handed the body on")
		}
		s.w.Finish(nil)
		s.got(inlineLimit + 1)
	})
	play(t, "outgrows a memory below the limit", func(s *setting) {
		s.opts.Nudge = never
		s.opts.Stream.Bounds = spool.Bounds{Memory: 1000}
		s.begin()
		s.write(1000)
		synctest.Wait()
		s.did("head 200, write 1000")
		if _, err := s.w.Write(pattern(1001)[1000:]); err != nil {
			s.t.Fatal(err)
		}
		synctest.Wait()
		s.got(1001)
		s.w.Finish(nil)
	})
	play(t, "goes through the file where there is no memory", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{File: 64 * kib}
		s.begin()
		s.write(200 * kib)
		s.w.Finish(nil)
		s.got(200 * kib)
	})
	play(t, "goes through the file where the process has no memory left", func(s *setting) {
		s.opts.Stream.Budget = spool.NewBudget(spool.Limits{Dir: s.t.TempDir(), Disk: mib})
		s.begin()
		s.write(100 * kib)
		s.w.Finish(nil)
		s.got(100 * kib)
		if used := s.opts.Stream.Budget.Usage(); used != (spool.Usage{}) {
			s.t.Errorf("not given back: %+v", used)
		}
	})
	play(t, "that is not spooled is written at once", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{}
		s.begin()
		s.write(5)
		isErr(s.t, "flush", s.w.FlushError(), nil)
		s.did("head 200, write 5, flush")
		if here := goroutine(); s.client.calls[1].goroutine != here {
			s.t.Error("the body came on another goroutine")
		}
		s.told(http.StatusOK, true)
		s.w.Finish(nil)
		s.did("head 200, write 5, flush")
	})
	for _, finish := range []bool{false, true} {
		play(t, fmt.Sprintf("that is not allowed is refused by the client's writer, finish %v", finish), func(s *setting) {
			s.req.Method = http.MethodHead
			s.opts.Finish = finish
			s.client.onWrite = func([]byte) error { return http.ErrBodyNotAllowed }
			s.begin()
			_, err := s.w.Write(pattern(5))
			isErr(s.t, "write", err, http.ErrBodyNotAllowed)
			s.w.Finish(nil)
			if s.w.Lost() || !s.w.Complete() {
				s.t.Errorf("lost %v, complete %v", s.w.Lost(), s.w.Complete())
			}
		})
		play(t, fmt.Sprintf("that is too much is refused by the client's writer, finish %v", finish), func(s *setting) {
			s.opts.Stream.Bounds = spool.Bounds{}
			s.opts.Finish = finish
			s.client.onWrite = func([]byte) error { return errGone } // HTTP/2 has another error
			s.begin().Header().Set("Content-Length", "4")
			_, err := s.w.Write(pattern(5))
			isErr(s.t, "write", err, errGone)
			s.w.Finish(nil)
			if s.w.Lost() {
				s.t.Error("lost")
			}
		})
	}
	play(t, "after the end is refused", func(s *setting) {
		s.begin()
		s.write(5)
		s.w.Finish(nil)
		_, err := s.w.Write(pattern(5))
		if err == nil || s.w.FlushError() == nil {
			s.t.Errorf("write: %v", err)
		}
		s.w.WriteHeader(http.StatusOK)
		s.did("head 200, write 5")
	})
	for _, direct := range []bool{false, true} {
		play(t, fmt.Sprintf("that begins after the end is refused, direct %v", direct), func(s *setting) {
			if direct {
				s.opts.Stream.Bounds = spool.Bounds{}
			}
			s.begin().Finish(nil)
			s.w.WriteHeader(http.StatusOK)
			if _, err := s.w.Write(pattern(5)); err == nil {
				s.t.Error("a write was accepted")
			}
			if _, _, err := s.w.Hijack(); err == nil {
				s.t.Error("a hijack was accepted")
			}
			s.did("")
		})
	}
}

func TestFlush(t *testing.T) {
	t.Parallel()
	play(t, "hands on at once", func(s *setting) {
		s.opts.Nudge = never
		s.begin()
		for range 3 {
			s.write(5)
			isErr(s.t, "flush", s.w.FlushError(), nil)
			synctest.Wait()
		}
		s.did("head 200, write 5, flush, write 5, flush, write 5, flush")
		s.w.Finish(nil)
	})
	play(t, "comes with each write if the run wants no buffer", func(s *setting) {
		for _, bounds := range []spool.Bounds{s.opts.Stream.Bounds, {}} {
			s.client, s.owner, s.w = newClient(), new(owner), new(bridge.Writer)
			s.opts.Owner, s.opts.Stream.Bounds, s.opts.Nudge = s.owner, bounds, never
			s.begin()
			s.w.Header().Set("X-Accel-Buffering", "no")
			for range 2 {
				s.write(5)
				synctest.Wait()
			}
			s.did("head 200, write 5, flush, write 5, flush")
			s.told(200, bounds == spool.Bounds{})
			s.w.Finish(nil)
		}
	})
	play(t, "goes before the first byte", func(s *setting) {
		s.opts.Nudge = never
		s.begin()
		isErr(s.t, "flush", s.w.FlushError(), nil)
		synctest.Wait()
		s.did("head 200, flush")
		s.write(5)
		synctest.Wait()
		s.did("head 200, flush, write 5")
		s.w.Finish(nil)
	})
	play(t, "is not lost when the run ends right after it", func(s *setting) {
		s.begin()
		s.write(5)
		isErr(s.t, "flush", s.w.FlushError(), nil)
		s.w.Finish(nil)
		s.did("head 200, write 5, flush")
	})
	play(t, "of a writer that cannot is no error", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{}
		recorder := struct{ http.ResponseWriter }{s.client}
		s.beginOn(recorder)
		isErr(s.t, "flush", s.w.FlushError(), nil)
		s.w.Finish(nil)
		s.did("head 200")
	})
	play(t, "that fails tells of a lost client", func(s *setting) {
		s.client.onFlush = func() error { return errGone }
		s.begin()
		s.write(5)
		isErr(s.t, "flush", s.w.FlushError(), nil)
		synctest.Wait()
		if s.owner.timesLost() != 1 || !s.w.Lost() {
			s.t.Errorf("told of a lost client %d times, lost %v", s.owner.timesLost(), s.w.Lost())
		}
		s.w.Finish(nil)
	})
	play(t, "that fails before the first byte tells of a lost client", func(s *setting) {
		s.client.onFlush = func() error { return errGone }
		s.begin()
		if s.w.FlushError() == nil {
			s.t.Error("a flush to a client that has left went well")
		}
		if _, err := s.w.Write(pattern(5)); err == nil {
			s.t.Error("a write to a client that has left was accepted")
		}
		s.w.Finish(nil)
		if s.owner.timesLost() != 1 || !s.w.Lost() {
			s.t.Errorf("told of a lost client %d times, lost %v", s.owner.timesLost(), s.w.Lost())
		}
	})
	play(t, "that fails is the run's error where nothing is spooled", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{}
		s.client.onFlush = func() error { return errGone }
		s.begin()
		isErr(s.t, "flush", s.w.FlushError(), errGone)
		s.w.Finish(nil)
	})
}

func TestNudge(t *testing.T) {
	t.Parallel()
	play(t, "hands on what is begun and stays incomplete, and flushes it", func(s *setting) {
		s.begin()
		s.write(5 * kib)
		synctest.Wait()
		s.did("head 200, write 2048")
		pass(nudgeAfter)
		s.did("head 200, write 2048, write 3072")
		pass(flushIdle)
		s.did("head 200, write 2048, write 3072, flush")
		pass(10 * flushIdle)
		s.did("head 200, write 2048, write 3072, flush")
		s.write(6)
		pass(flushIdle)
		s.did("head 200, write 2048, write 3072, flush, write 6, flush")
		s.w.Finish(nil)
	})
	play(t, "flushes the few bytes that went past the stream", func(s *setting) {
		s.begin()
		s.write(5)
		pass(nudgeAfter)
		pass(flushIdle)
		s.did("head 200, write 5, flush")
		s.w.Finish(nil)
	})
	play(t, "flushes the few bytes that went past the stream when it was there before them", func(s *setting) {
		s.begin()
		s.w.WriteHeader(http.StatusOK)
		pass(10 * nudgeAfter)
		s.did("head 200")
		s.write(5)
		pass(flushIdle)
		s.did("head 200, write 5, flush")
		s.w.Finish(nil)
	})
	play(t, "does not flush bytes that are followed by more", func(s *setting) {
		s.begin()
		for range 20 {
			s.write(5)
			pass(flushIdle / 2)
		}
		if strings.Contains(s.client.did(), "flush") {
			s.t.Errorf("the client's writer got %q", s.client.did())
		}
		s.w.Finish(nil)
	})
	play(t, "finds out that the client has left", func(s *setting) {
		s.begin()
		s.w.WriteHeader(http.StatusOK)
		s.leave()
		synctest.Wait()
		if s.owner.timesLost() != 0 {
			s.t.Error("told too early: a short response has no helper")
		}
		pass(nudgeAfter)
		if s.owner.timesLost() != 1 {
			s.t.Errorf("told of a lost client %d times", s.owner.timesLost())
		}
		s.client.onFlush = func() error { return errGone }
		if s.w.FlushError() == nil {
			s.t.Error("a flush to a client that has left went well")
		}
		if _, err := s.w.Write(pattern(5 * kib)); err == nil {
			s.t.Error("a write to a client that has left was accepted")
		}
		s.w.Finish(nil)
		if s.owner.timesLost() != 1 {
			s.t.Errorf("told of a lost client %d times in all", s.owner.timesLost())
		}
	})
	play(t, "tells of a response that goes on although its client had left before it", func(s *setting) {
		s.begin()
		s.leave()
		s.w.WriteHeader(http.StatusOK)
		synctest.Wait()
		if s.owner.timesGoingOn() != 0 {
			s.t.Error("told too early: a short response may end by itself")
		}
		pass(nudgeAfter)
		if s.owner.timesGoingOn() != 1 {
			s.t.Errorf("told %d times", s.owner.timesGoingOn())
		}
		s.w.Kill(errKilled)
		if _, err := s.w.Write(pattern(5)); !errors.Is(err, errKilled) {
			s.t.Errorf("a write after the kill got %v", err)
		}
		s.w.Finish(nil)
		s.did("")
	})
	play(t, "comes too late for a response that is complete", func(s *setting) {
		s.begin()
		s.write(5)
		s.w.Finish(nil)
		pass(10 * nudgeAfter)
		s.did("head 200, write 5")
	})
	play(t, "only tells the owner of a response that is not spooled", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{}
		s.begin()
		s.write(5)
		if told := s.owner.timesGoingOn(); told != 0 {
			s.t.Errorf("told too early, %d times", told)
		}
		pass(10 * nudgeAfter)
		s.did("head 200, write 5")
		if told := s.owner.timesGoingOn(); told != 1 {
			s.t.Errorf("told %d times that it goes on", told)
		}
		s.w.Finish(nil)
	})
	for _, bounds := range []spool.Bounds{{}, {Memory: 64 * kib}} {
		play(t, fmt.Sprintf("is no news of a response that is complete, with %+v", bounds), func(s *setting) {
			s.opts.Stream.Bounds = bounds
			s.begin()
			s.write(5)
			s.w.Finish(nil)
			pass(10 * nudgeAfter)
			if told := s.owner.timesGoingOn(); told != 0 {
				s.t.Errorf("told %d times that it goes on", told)
			}
		})
	}
}

func TestSlowClient(t *testing.T) {
	t.Parallel()
	const size = 400 * kib // memory, then the file, and a piece on its way
	play(t, "does not hold up the run while there is room", func(s *setting) {
		block := newBlocker()
		s.client.onWrite = block.write
		s.begin()
		began := time.Now()
		s.write(size)
		if took := time.Since(began); took != 0 {
			s.t.Errorf("the run waited %v for its client", took)
		}
		<-block.reached
		if used := s.budget.Usage(); used.Memory != 256*kib || used.Disk < size-256*kib-32*kib {
			s.t.Errorf("kept: %+v", used)
		}
		close(block.open)
		s.w.Finish(nil)
		s.got(size)
	})
	play(t, "holds up the run when there is no room, until it reads", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{Memory: 64 * kib}
		block := newBlocker()
		s.client.onWrite = block.write
		s.begin()
		time.AfterFunc(stallAfter/2, func() { close(block.open) })
		began := time.Now()
		s.write(size)
		if took := time.Since(began); took != stallAfter/2 {
			s.t.Errorf("the run waited %v, want %v", took, stallAfter/2)
		}
		s.w.Finish(nil)
		s.got(size)
		if s.w.Lost() {
			s.t.Error("lost")
		}
	})
	// A handler that does not look at the error of Write ends well. What its
	// client has got is not complete all the same.
	play(t, "that stalls the run is cut off, even if the run does not care", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{Memory: 64 * kib}
		block := newBlocker()
		s.client.onWrite = block.write
		began := time.Now()
		time.AfterFunc(2*stallAfter, func() { close(block.open) })
		got := panicOf(func() {
			serve(s.w, s.client, s.req, s.opts, func(w http.ResponseWriter, _ *http.Request) {
				_, err := w.Write(pattern(size))
				isErr(s.t, "write", err, stream.ErrStalled)
				if took := time.Since(began); took != stallAfter {
					s.t.Errorf("the run was blocked for %v, want %v", took, stallAfter)
				}
				if !s.w.Lost() || !s.w.Broken() { // known although the client's writer still blocks
					s.t.Error("not lost at once")
				}
				if _, err := w.Write(pattern(1)); err == nil {
					s.t.Error("a write after the stall was accepted")
				}
			})
		})
		if got != http.ErrAbortHandler {
			s.t.Errorf("panic %v, want an abort", got)
		}
		if !s.w.Lost() || len(s.client.got()) >= size {
			s.t.Errorf("lost %v after %d bytes", s.w.Lost(), len(s.client.got()))
		}
	})
	play(t, "stalls a run whose response nobody has begun to hand on", func(s *setting) {
		s.opts.Nudge = never
		s.opts.Stream.Budget = spool.NewBudget(spool.Limits{Dir: s.t.TempDir()})
		s.begin()
		_, err := s.w.Write(pattern(5 * kib))
		isErr(s.t, "write", err, stream.ErrStalled)
		s.w.Finish(nil)
		if !s.w.Lost() {
			s.t.Error("not lost")
		}
		s.did("head 200, write 2048")
	})
}

// A spool of a file alone goes on without the file, at the pace of the client, and reports
// the error.
func TestSpoolThatFails(t *testing.T) {
	t.Parallel()
	play(t, "loses nothing", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{File: 256 * kib}
		s.opts.Stream.Budget = spool.NewBudget(spool.Limits{Dir: "/proc/nothing", Disk: mib})
		s.begin()
		s.write(400 * kib)
		isErr(s.t, "its spool", s.w.SpoolError(), spool.ErrFull)
		s.w.Finish(nil)
		s.got(400 * kib)
	})
}

func TestLostClient(t *testing.T) {
	t.Parallel()
	for passed := range 2 {
		play(t, fmt.Sprintf("ends the run by its next write, after %d of the client's", passed), func(s *setting) {
			s.client.onWrite = failAfter(passed, errGone)
			s.begin()
			if _, err := s.w.Write(pattern(100 * kib)); (err == nil) != (passed > 0) {
				s.t.Errorf("first write: %v", err)
			}
			pass(nudgeAfter)
			if _, err := s.w.Write(pattern(5)); err == nil {
				s.t.Error("a write to a client that has left was accepted")
			}
			s.w.Finish(nil)
			if s.owner.timesLost() != 1 || !s.w.Lost() || !s.w.HeadPassedOn() {
				s.t.Errorf("told %d times, lost %v, head passed on %v", s.owner.timesLost(), s.w.Lost(), s.w.HeadPassedOn())
			}
			if got := len(s.client.calls); got != passed+2 { // none after the one that failed
				s.t.Errorf("the client's writer got %q", s.client.did())
			}
		})
	}
	// The write may have got half-way. On HTTP/3 a flush would then go on in the
	// middle of its frame, with bytes that are the next frame's head.
	for name, bounds := range map[string]spool.Bounds{"spooled": {Memory: 64 * kib}, "not spooled": {}} {
		play(t, "gets nothing more of a response that is cut for it, "+name, func(s *setting) {
			s.opts.Stream.Bounds = bounds
			s.client.onWrite = failAfter(0, errGone)
			s.begin()
			_, _ = s.w.Write(pattern(5 * kib))
			_, _ = s.w.Write(pattern(5))
			_ = s.w.FlushError()
			s.w.Kill(errKilled)
			s.w.Finish(errEnded)
			if got := len(s.client.calls); got != 2 { // a head, and the write that failed
				s.t.Errorf("the client's writer got %q", s.client.did())
			}
		})
	}
	play(t, "wakes a run that is blocked by it", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{Memory: 64 * kib}
		fail := failAfter(1, errGone)
		s.client.onWrite = func(p []byte) error {
			err := fail(p)
			if err != nil {
				<-time.After(time.Second)
			}
			return err
		}
		s.begin()
		began := time.Now()
		if _, err := s.w.Write(pattern(mib)); err == nil {
			s.t.Error("a write to a client that has left was accepted")
		}
		if took := time.Since(began); took != time.Second {
			s.t.Errorf("woken after %v", took)
		}
		s.w.Finish(nil)
		if s.owner.timesLost() != 1 {
			s.t.Errorf("told %d times", s.owner.timesLost())
		}
	})
	play(t, "does not hear of it twice when it leaves while the run is silent", func(s *setting) {
		s.begin()
		s.write(5)
		isErr(s.t, "flush", s.w.FlushError(), nil)
		synctest.Wait()
		s.leave()
		synctest.Wait()
		if s.owner.timesLost() != 1 {
			s.t.Errorf("told %d times", s.owner.timesLost())
		}
		if s.w.FlushError() == nil {
			s.t.Error("a flush to a client that has left went well")
		}
		s.w.Finish(nil)
		if s.owner.timesLost() != 1 || !s.w.Lost() {
			s.t.Errorf("told %d times in all, lost %v", s.owner.timesLost(), s.w.Lost())
		}
	})
	play(t, "of a small response is noticed at its end", func(s *setting) {
		s.client.onWrite = failAfter(1, errGone)
		s.begin()
		s.write(5 * kib)
		s.w.Finish(nil)
		if s.owner.timesLost() != 1 || !s.w.Lost() {
			s.t.Errorf("told %d times, lost %v", s.owner.timesLost(), s.w.Lost())
		}
	})
	play(t, "is the run's error where nothing is spooled", func(s *setting) {
		s.opts.Stream.Bounds = spool.Bounds{}
		s.client.onWrite = func([]byte) error { s.leave(); return errGone }
		s.begin()
		_, err := s.w.Write(pattern(5))
		isErr(s.t, "write", err, errGone)
		s.w.Finish(nil)
	})
	for name, bounds := range map[string]spool.Bounds{
		"spooled": {Memory: 64 * kib}, "not spooled": {},
	} {
		for passed := range 3 {
			play(t, fmt.Sprintf("lets the run finish if that is wished, %s, after %d writes", name, passed), func(s *setting) {
				s.opts.Finish = true
				s.opts.Stream.Bounds = bounds
				fail := failAfter(passed, errGone)
				s.client.onWrite = func(p []byte) error {
					err := fail(p)
					if err != nil {
						s.leave()
					}
					return err
				}
				s.begin()
				for range 100 {
					s.write(10 * kib)
					isErr(s.t, "flush", s.w.FlushError(), nil)
				}
				s.w.Header().Set(http.TrailerPrefix+"X", "1")
				s.w.Finish(nil)
				if !s.w.Lost() || !s.w.HeadPassedOn() || !s.w.Complete() {
					s.t.Errorf("lost %v, head passed on %v, complete %v", s.w.Lost(), s.w.HeadPassedOn(), s.w.Complete())
				}
				if s.w.Broken() {
					s.t.Error("it was not made to fail")
				}
				if len(s.client.header) != 0 {
					s.t.Errorf("header %v", s.client.header)
				}
				if spooled := bounds.Sum() > 0; spooled != (s.owner.timesLost() == 1) {
					s.t.Errorf("told %d times", s.owner.timesLost())
				}
			})
		}
	}
	play(t, "lets the run finish after a flush that failed", func(s *setting) {
		s.opts.Finish = true
		s.opts.Stream.Bounds = spool.Bounds{}
		s.client.onFlush = func() error { s.leave(); return errGone }
		s.begin()
		isErr(s.t, "flush", s.w.FlushError(), nil)
		s.write(5)
		s.w.Finish(nil)
		s.did("head 200, flush")
	})
}

func TestContentLength(t *testing.T) {
	t.Parallel()
	play(t, "is kept", func(s *setting) {
		s.begin().Header().Set("Content-Length", "10")
		s.write(4)
		if s.w.Complete() {
			s.t.Error("complete after 4 of 10 bytes")
		}
		s.write(6)
		if !s.w.Complete() {
			s.t.Error("incomplete after 10 of 10 bytes")
		}
		s.w.Finish(nil)
		if got := s.client.head.Get("Content-Length"); got != "10" {
			s.t.Errorf("Content-Length %q", got)
		}
	})
	// net/http counts the bytes that it has rejected, so that the response is cut and
	// later bytes do not complete it.
	play(t, "is not to be exceeded, and then never met", func(s *setting) {
		s.begin().Header().Set("Content-Length", "10")
		s.write(4)
		_, err := s.w.Write(pattern(7))
		isErr(s.t, "write", err, http.ErrContentLength)
		_, err = s.w.Write(pattern(6))
		isErr(s.t, "write", err, http.ErrContentLength)
		if s.w.Complete() {
			s.t.Error("complete")
		}
		s.w.Finish(nil)
		s.did("head 200, write 4")
	})
	play(t, "may be missed by a body of no byte", func(s *setting) {
		s.begin().Header().Set("Content-Length", "10")
		s.w.WriteHeader(http.StatusOK)
		if s.w.Complete() {
			s.t.Error("complete")
		}
		s.w.Finish(nil)
	})
	for _, value := range []string{"", "-1", "ten", "1e3", "99999999999999999999"} {
		play(t, "that is none bounds nothing: "+strconv.Quote(value), func(s *setting) {
			s.begin().Header().Set("Content-Length", value)
			s.write(20)
			if !s.w.Complete() {
				s.t.Error("incomplete")
			}
			s.w.Finish(nil)
			s.got(20)
		})
	}
	play(t, "is the client's writer's business in an answer to HEAD", func(s *setting) {
		s.req.Method = http.MethodHead
		s.begin().Header().Set("Content-Length", "10")
		s.w.WriteHeader(http.StatusOK)
		s.w.Finish(nil)
		if !s.w.Complete() || s.client.head.Get("Content-Length") != "10" {
			s.t.Errorf("complete %v, Content-Length %q", s.w.Complete(), s.client.head.Get("Content-Length"))
		}
	})
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	for _, bounds := range []spool.Bounds{{Memory: 64 * kib}, {}} {
		play(t, fmt.Sprintf("reach the client's writer at the end, with %+v", bounds), func(s *setting) {
			s.opts.Stream.Bounds = bounds
			w := s.begin()
			w.Header()["Trailer"] = []string{"x-sum, X-Two", "X-Three"}
			w.Header().Set("X-Plain", "head")
			w.WriteHeader(http.StatusOK)
			s.write(5)
			w.Header().Set("X-Sum", "1")
			w.Header()["X-Three"] = []string{"3", "drei"}
			w.Header().Set("X-Plain", "late")
			w.Header().Set(http.TrailerPrefix+"X-Four", "4")
			w.Header().Set("Trailer", "X-Late")
			w.Header().Set("X-Late", "5")
			w.Finish(nil)
			want := map[string]string{
				"X-Sum": "1", "X-Two": "", "X-Three": "3", http.TrailerPrefix + "X-Four": "4",
				"X-Plain": "head", "X-Late": "", "Trailer": "x-sum, X-Two",
			}
			for name, value := range want {
				if got := s.client.header.Get(name); got != value {
					s.t.Errorf("%s: %q, want %q", name, got, value)
				}
			}
			if got := s.client.header["X-Three"]; len(got) != 2 {
				s.t.Errorf("X-Three: %q", got)
			}
		})
	}
	play(t, "of a run that was cut short stay behind when the client is lost", func(s *setting) {
		w := s.begin()
		s.client.onWrite = failAfter(1, errGone)
		s.write(5 * kib)
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		w.Finish(nil)
		if len(s.client.header) != 0 {
			s.t.Errorf("header %v", s.client.header)
		}
	})
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 5, inlineLimit + 5} {
		play(t, fmt.Sprintf("hands on what came, %d bytes", size), func(s *setting) {
			w := s.begin()
			w.WriteHeader(http.StatusOK)
			s.write(size)
			w.Finish(errEnded)
			s.got(size)
			if last := s.client.calls[len(s.client.calls)-1].what; last != "flush" {
				s.t.Errorf("ended with %q, want a flush", last)
			}
			if !w.Lost() {
				s.t.Error("not lost")
			}
		})
	}
	play(t, "before the head is nothing to the client", func(s *setting) {
		s.begin().Finish(errEnded)
		s.did("")
	})
}

func TestPanic(t *testing.T) {
	t.Parallel()
	type value struct{ n int }
	thrown := &value{1}
	for passed, size := range map[int]int{1: 5 * kib, 0: 5} {
		play(t, fmt.Sprintf("of the client's writer goes on where the run is, as the same value, after %d writes", passed), func(s *setting) {
			fail := failAfter(passed, errGone)
			s.client.onWrite = func(p []byte) error {
				if fail(p) != nil {
					panic(thrown)
				}
				return nil
			}
			var writes error
			got := panicOf(func() {
				serve(s.w, s.client, s.req, s.opts, func(w http.ResponseWriter, _ *http.Request) {
					s.write(size)
					pass(nudgeAfter)
					_, writes = w.Write(pattern(5))
				})
			})
			if got != thrown {
				s.t.Errorf("panic %v, want %v", got, thrown)
			}
			if helper := passed > 0; helper != (writes != nil) || helper != (s.owner.timesLost() == 1) {
				s.t.Errorf("write after the panic: %v; told of a lost client %d times", writes, s.owner.timesLost())
			}
		})
	}
	// The budget is checked at the end: this once kept the memory.
	play(t, "of the client's writer after the run gives the memory back", func(s *setting) {
		fail := failAfter(1, errGone)
		s.client.onWrite = func(p []byte) error {
			if fail(p) != nil {
				panic(http.ErrAbortHandler)
			}
			return nil
		}
		got := panicOf(func() {
			serve(s.w, s.client, s.req, s.opts, func(http.ResponseWriter, *http.Request) { s.write(5 * kib) })
		})
		if got != http.ErrAbortHandler {
			s.t.Errorf("panic %v", got)
		}
	})
	play(t, "of nil is a panic", func(s *setting) {
		s.client.onFlush = func() error {
			pass(time.Second) // the run is done by then
			panic(nil)        //nolint:govet // that is the case
		}
		s.begin()
		s.write(5)
		isErr(s.t, "flush", s.w.FlushError(), nil)
		var nilPanic *runtime.PanicNilError
		if err, ok := panicOf(func() { s.w.Finish(nil) }).(error); !ok || !errors.As(err, &nilPanic) {
			s.t.Errorf("panic %v", err)
		}
	})
	for name, cause := range map[string]any{"an abort": http.ErrAbortHandler, "any value": thrown} {
		for _, size := range []int{5, inlineLimit + 5} {
			play(t, fmt.Sprintf("of the run with %s after %d bytes keeps its value", name, size), func(s *setting) {
				got := panicOf(func() {
					serve(s.w, s.client, s.req, s.opts, func(http.ResponseWriter, *http.Request) {
						s.write(size)
						panic(cause)
					})
				})
				if got != cause {
					s.t.Errorf("panic %v, want %v", got, cause)
				}
				s.got(size)
			})
		}
	}
	play(t, "is not needed to end the goroutine", func(s *setting) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			serve(s.w, s.client, s.req, s.opts, func(http.ResponseWriter, *http.Request) {
				s.write(5)
				runtime.Goexit()
			})
		}()
		<-done
		s.did("head 200, write 5, flush")
	})
}

func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	var w http.ResponseWriter = s.begin()
	if _, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		t.Error("the client's writer can be reached past the bridge")
	}
	if _, ok := w.(http.Pusher); ok {
		t.Error("the connection can be used past the bridge")
	}
	s.w.Finish(nil)
}

// Many responses at once, of all kinds and sizes, share one budget and one nudge.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := newSetting(t)
	var all []chan struct{}
	for i := range 100 {
		done := make(chan struct{})
		all = append(all, done)
		go func() {
			defer close(done)
			recorder := httptest.NewRecorder()
			o := s.opts
			o.Owner = new(owner)
			size := i * i * 30
			serve(new(bridge.Writer), recorder, s.req, o, func(w http.ResponseWriter, _ *http.Request) {
				var next inTurn
				for left := size; left > 0; left -= 10 * kib {
					_, _ = w.Write(next.take(min(left, 10*kib)))
					if i%3 == 0 {
						_ = http.NewResponseController(w).Flush()
					}
				}
			})
			if !bytes.Equal(recorder.Body.Bytes(), pattern(size)) {
				t.Errorf("response %d differs", i)
			}
		}()
	}
	for _, done := range all {
		<-done
	}
}
