package exchange_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// A run that leaves before the head gets the cause at once. The backend works on, and
// its end is known when it has answered.
func TestLeaveBeforeTheHead(t *testing.T) {
	started, work := make(chan struct{}, 1), make(chan struct{})
	eachVersion(t, func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-work
		if r.Context().Err() != nil {
			t.Error("the backend was cancelled")
		}
		w.Write(pattern(100_000))
	}, func(t *testing.T, b backend) {
		o := newOwner()
		failed := make(chan error)
		go func() {
			_, err := exchange.RoundTrip(b, o.of(request(t, "GET", b.url)), o)
			failed <- err
		}()
		x := <-o.began
		<-started
		if !x.Leave(errLeft) || !x.Leave(errors.New("too late")) {
			t.Error("it is not over")
		}
		if err := <-failed; err != errLeft {
			t.Errorf("got %v", err)
		}
		if o.wantGoingOn(t); !x.Left() {
			t.Error("not left")
		}
		work <- struct{}{}
		o.wantEnd(t, false)
		if x.Left() || x.Leave(errLeft) {
			t.Error("it is over")
		}
	})
}

// A run that leaves within the body gets the cause from the read that waits, and from
// all others.
func TestLeaveWithinTheBody(t *testing.T) {
	work := make(chan struct{})
	eachVersion(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "begin")
		http.NewResponseController(w).Flush()
		<-work
		w.Write(pattern(100_000))
	}, func(t *testing.T, b backend) {
		o := newOwner()
		res, err := exchange.RoundTrip(b, o.of(request(t, "GET", b.url)), o)
		if err != nil {
			t.Fatal(err)
		}
		x := <-o.began
		failed := make(chan error)
		go func() {
			_, err := io.Copy(io.Discard, res.Body)
			failed <- err
		}()
		x.Leave(errLeft)
		if err := <-failed; err != errLeft {
			t.Errorf("got %v", err)
		}
		if _, err := res.Body.Read(make([]byte, 1)); err != errLeft {
			t.Errorf("got %v", err)
		}
		res.Body.Close()
		o.wantGoingOn(t)
		work <- struct{}{}
		o.wantEnd(t, false)
	})
}

// Of an answer without a reader one mebibyte is read. The rest keeps no backend busy,
// and it is said that it was cut.
func TestLongAnswersAreCut(t *testing.T) {
	const mib = 1 << 20
	for _, head := range []string{"before the head", "within the body"} {
		t.Run(head, func(t *testing.T) {
			var written atomic.Int64
			started, work, ended := make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 1)
			eachVersion(t, func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended <- struct{}{} }()
				if head == "within the body" {
					io.WriteString(w, "begin")
					http.NewResponseController(w).Flush()
				}
				started <- struct{}{}
				<-work
				for r.Context().Err() == nil {
					n, err := w.Write(make([]byte, 32<<10))
					written.Add(int64(n))
					if err != nil || written.Load() > 64*mib {
						return
					}
				}
			}, func(t *testing.T, b backend) {
				written.Store(0)
				o := newOwner()
				left := make(chan struct{})
				go func() {
					defer close(left)
					if res, err := exchange.RoundTrip(b, o.of(request(t, "GET", b.url)), o); err == nil {
						_, err = io.Copy(io.Discard, res.Body)
						res.Body.Close()
						if err != errLeft {
							t.Errorf("got %v", err)
						}
					}
				}()
				x := <-o.began
				<-started
				x.Leave(errLeft)
				<-left
				work <- struct{}{}
				o.wantEnd(t, true)
				<-ended
				if n := written.Load(); n < mib-64<<10 || n > 32*mib { // the write that fails counts as none, and kernels keep much
					t.Errorf("the backend has written %d", n)
				}
			})
		})
	}
}

// An answer without an end is cut at its head.
func TestEndlessAnswersAreCut(t *testing.T) {
	started, work := make(chan struct{}, 1), make(chan struct{})
	eachVersion(t, func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-work
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, func(t *testing.T, b backend) {
		o := newOwner()
		o.endless = true
		go exchange.RoundTrip(b, o.of(request(t, "GET", b.url)), o)
		x := <-o.began
		<-started
		x.Leave(errLeft)
		work <- struct{}{}
		o.wantEnd(t, true)
	})
}

// An answer without an end is cut also when the run leaves before it has looked at it.
func TestEndlessAnswersAreCutAfterTheirHeads(t *testing.T) {
	eachVersion(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(w, "data: x\n\n")
			http.NewResponseController(w).Flush()
			testkit.Pause(time.Millisecond)
		}
	}, func(t *testing.T, b backend) {
		o := newOwner()
		o.endless = true
		res, err := exchange.RoundTrip(b, o.of(request(t, "GET", b.url)), o)
		if err != nil {
			t.Fatal(err)
		}
		x := <-o.began
		if !x.Endless() {
			t.Error("the owner is not told that the answer has no end")
		}
		x.Leave(errLeft)
		o.wantEnd(t, true)
		res.Body.Close()
	})
}

// The backend of a run that has left ends when its context does.
func TestCancelAfterLeaving(t *testing.T) {
	started, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	eachVersion(t, func(_ http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	}, func(t *testing.T, b backend) {
		o := newOwner()
		ctx, cancel := context.WithCancel(t.Context())
		req := o.of(request(t, "GET", b.url).WithContext(ctx))
		go exchange.RoundTrip(b, req, o)
		x := <-o.began
		<-started
		x.Leave(errLeft)
		o.wantGoingOn(t)
		cancel()
		<-gone
		o.wantEnd(t, false)
	})
}

// transportFunc is a transport of a test.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A transport that does not notice that its request is canceled is not waited for.
func TestForget(t *testing.T) {
	started, block := make(chan struct{}), make(chan struct{})
	o := newOwner()
	failed := make(chan error)
	go func() {
		_, err := exchange.RoundTrip(transportFunc(func(*http.Request) (*http.Response, error) {
			close(started)
			<-block
			return nil, errors.New("at last")
		}), request(t, "GET", "http://none"), o)
		failed <- err
	}()
	x := <-o.began
	<-started
	x.Leave(errLeft)
	<-failed
	x.Forget()
	x.Forget()
	o.wantEnd(t, true)
	close(block)
	if n := o.ends.Load(); n != 1 {
		t.Errorf("ended %d times", n)
	}
}

// For an owner that rejects, nothing is sent, and its request's body is closed.
func TestBeginRefuses(t *testing.T) {
	o := newOwner()
	o.refuses = errLeft
	body := &panicBody{}
	req := request(t, "POST", "http://none")
	req.Body = body
	_, err := exchange.RoundTrip(transportFunc(func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, nil
	}), req, o)
	if err != errLeft || !body.closed.Load() || o.sent.Load() != 0 || o.ends.Load() != 0 {
		t.Errorf("got %v, closed %v, sent %d, ended %d", err, body.closed.Load(), o.sent.Load(), o.ends.Load())
	}
}

// panicBody panics after what it has.
type panicBody struct {
	io.Reader
	value  any
	closed atomic.Bool
}

func (b *panicBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		panic(b.value)
	}
	return n, err
}

func (b *panicBody) Close() error {
	b.closed.Store(true)
	return nil
}

// A panic of the transport, or of its body, reaches the run as the identical value,
// after the bytes before it. The body is closed.
func TestPanicsKeepTheirIdentity(t *testing.T) {
	value := new(int)
	caught := func(f func()) (v any) {
		defer func() { v = recover() }()
		f()
		return nil
	}
	o := newOwner()
	if got := caught(func() {
		exchange.RoundTrip(transportFunc(func(*http.Request) (*http.Response, error) { panic(value) }), request(t, "GET", "http://none"), o)
	}); got != value {
		t.Errorf("got %v", got)
	}
	o.wantEnd(t, false)

	o = newOwner()
	source := &panicBody{Reader: strings.NewReader("before"), value: value}
	res, err := exchange.RoundTrip(transportFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: source}, nil
	}), request(t, "GET", "http://none"), o)
	if err != nil {
		t.Fatal(err)
	}
	o.wantEnd(t, false)
	var b strings.Builder
	if got := caught(func() { io.Copy(&b, res.Body) }); got != value || b.String() != "before" {
		t.Errorf("got %v after %q", got, b.String())
	}
	if res.Body.Close(); !source.closed.Load() {
		t.Error("the body is not closed")
	}
}
