package discard

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// send sends an upload, and returns how long it was read. A pipe takes the place of the
// connection or the stream.
func send(d *Discarder, longest time.Duration, upload func(io.Writer)) (took time.Duration) {
	server, client := net.Pipe()
	var sender sync.WaitGroup
	sender.Go(func() {
		upload(client)
		_ = client.Close()
	})
	began := time.Now()
	d.read(server, longest)
	took = time.Since(began)
	_ = server.Close()
	sender.Wait()
	return took
}

// Each bound ends the reading of an upload, which is counted by it.
func TestBounds(t *testing.T) {
	b := DefaultBounds()
	for name, tt := range map[string]struct {
		upload func(io.Writer)
		end    End
		took   time.Duration
	}{
		"it ends": {func(w io.Writer) {
			_, _ = w.Write(make([]byte, 100<<10))
			testkit.Pause(time.Second)
			_, _ = w.Write(make([]byte, 100<<10))
		}, Complete, time.Second},
		"nothing comes":  {func(io.Writer) { testkit.Pause(time.Hour) }, TooLong, b.First},
		"it pauses":      {func(w io.Writer) { _, _ = w.Write([]byte("x")); testkit.Pause(time.Hour) }, TooLong, b.Idle},
		"it trickles":    {func(w io.Writer) { every(100*time.Millisecond, w, 1) }, TooLong, b.Time},
		"it is slow":     {func(w io.Writer) { every(100*time.Millisecond, w, 100<<10) }, TooLong, b.Time},
		"it is too much": {func(w io.Writer) { every(0, w, 1<<20) }, TooLarge, 250 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := New(b)
				took := send(d, b.Time, tt.upload)
				for _, e := range Ends() {
					want := uint64(0)
					if e == tt.end {
						want = 1
					}
					if got := d.Ended(e); got != want {
						t.Errorf("%d ended by %s, want %d", got, e, want)
					}
				}
				if took.Round(10*time.Millisecond) != tt.took {
					t.Errorf("it took %s, want %s", took, tt.took)
				}
			})
		})
	}
}

// every writes n bytes at a time until the connection is closed.
func every(d time.Duration, w io.Writer, n int) {
	for {
		if _, err := w.Write(make([]byte, n)); err != nil {
			return
		}
		testkit.Pause(d)
	}
}

// All uploads share the bytes of a second: more of them take longer, and do not cost more.
func TestRateOfAllTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Bounds{Uploads: 8, Rate: 1 << 20, Size: 1 << 20, Time: time.Minute, First: time.Minute, Idle: time.Minute}
		d := New(b)
		began := time.Now()
		var all sync.WaitGroup
		for range b.Uploads {
			all.Go(func() { send(d, b.Time, func(w io.Writer) { every(0, w, 64<<10) }) })
		}
		all.Wait()
		if took, want := time.Since(began), 8*time.Second; took < want-100*time.Millisecond || took > want+100*time.Millisecond {
			t.Errorf("8 MiB took %s at 1 MiB a second", took)
		}
		if got := d.Ended(TooLarge); got != 8 {
			t.Errorf("%d were read to their bound", got)
		}
	})
}

// An upload that would have to wait for the others beyond its time ends.
func TestRateEndsUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Bounds{Uploads: 1, Rate: 1 << 10, Size: 1 << 30, Time: 10 * time.Second, First: time.Minute, Idle: time.Minute})
		took := send(d, 10*time.Second, func(w io.Writer) { every(0, w, bufferSize) })
		if took > 10*time.Second || d.Ended(TooLong) != 1 {
			t.Errorf("it ended after %s, %d by time", took, d.Ended(TooLong))
		}
	})
}

// Uploads beyond the bound in number are not read, also not on HTTP/1, and the answer is sent
// all the same.
func TestNumber(t *testing.T) {
	d := New(Bounds{Uploads: 2, Rate: 1, Size: 1, Time: time.Minute, HTTP2: time.Minute, First: time.Minute, Idle: time.Minute})
	for range 2 {
		if !d.begin() {
			t.Fatal("an upload within the bound is not read")
		}
	}
	w := httptest.NewRecorder()
	d.BeforeEnd(w, httptest.NewRequest(http.MethodPost, "/", &unread{t: t}))
	server, client := net.Pipe()
	defer server.Close()
	defer client.Close()
	ctx, end := context.WithCancel(ConnContext(t.Context(), fakeSocket{server}))
	d.AfterAnswer(httptest.NewRequest(http.MethodPost, "/", nil).WithContext(ctx))
	end()
	if d.Now() != 2 || d.Ended(TooMany) != 2 {
		t.Errorf("%d are read, %d were too many", d.Now(), d.Ended(TooMany))
	}
	d.done()
	if !d.begin() {
		t.Error("a place that is free again is not given")
	}
}

type fakeSocket struct{ net.Conn }

func (fakeSocket) File() (*os.File, error) { panic("not to be called") }

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u *unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

// A body that its client would have to be asked for is not read, and neither is one whose
// answer a handler in front keeps until this one returns.
func TestLeftToTheServer(t *testing.T) {
	expects := httptest.NewRequest(http.MethodPost, "/", &unread{t: t})
	expects.Header.Set("Expect", "100-continue")
	d := New(DefaultBounds())
	d.BeforeEnd(httptest.NewRecorder(), expects)
	d.BeforeEnd(wraps{buffers{httptest.NewRecorder()}}, httptest.NewRequest(http.MethodPost, "/", &unread{t: t}))
	if d.Now() != 0 {
		t.Errorf("%d are read", d.Now())
	}
}

type buffers struct{ http.ResponseWriter }

func (buffers) Buffered() bool { return true }

type wraps struct{ http.ResponseWriter }

func (w wraps) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// The socket is found below the layers of a connection, and none where there is none.
func TestSocketOf(t *testing.T) {
	server, client := net.Pipe()
	defer server.Close()
	defer client.Close()
	s := fakeSocket{server}
	for name, c := range map[string]net.Conn{"itself": s, "TLS": layer{s}, "the PROXY protocol": proxied{s}, "both": layer{proxied{s}}} {
		if got := socketOf(c); got != s {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if got := socketOf(server); got != nil {
		t.Errorf("a connection without a socket: got %v", got)
	}
}

type layer struct{ net.Conn }

func (l layer) File() {} // not that of a socket

func (l layer) NetConn() net.Conn { return l.Conn }

type proxied struct{ net.Conn }

func (p proxied) Raw() net.Conn { return p.Conn }
