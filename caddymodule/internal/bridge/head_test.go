package bridge_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

func TestHead(t *testing.T) {
	t.Parallel()
	play(t, "is handed on at once, on the caller's goroutine, and once", func(s *setting) {
		w := s.begin()
		w.WriteHeader(http.StatusCreated)
		s.did("head 201")
		s.told(http.StatusCreated, false)
		if here := goroutine(); s.client.calls[0].goroutine != here || s.owner.goroutine != here {
			s.t.Error("the head came on another goroutine")
		}
		w.WriteHeader(http.StatusOK)
		w.WriteHeader(http.StatusInternalServerError)
		s.write(5)
		w.WriteHeader(http.StatusTeapot)
		w.Finish(nil)
		s.did("head 201, write 5")
		s.told(http.StatusCreated, false)
		if w.Status() != http.StatusCreated || !w.HeadPassedOn() || !w.Complete() || w.Lost() {
			s.t.Errorf("status %d, passed on %v, complete %v, lost %v", w.Status(), w.HeadPassedOn(), w.Complete(), w.Lost())
		}
	})
	play(t, "is 200 when the body comes first", func(s *setting) {
		s.begin()
		s.write(5)
		s.did("head 200, write 5")
		s.told(http.StatusOK, false)
		s.w.Finish(nil)
		s.did("head 200, write 5")
	})
	play(t, "is 200 when an empty body comes first", func(s *setting) {
		s.begin()
		s.write(0)
		s.w.Finish(nil)
		s.did("head 200")
	})
	play(t, "is 200 when a flush comes first", func(s *setting) {
		s.begin()
		if err := s.w.FlushError(); err != nil {
			s.t.Fatal(err)
		}
		synctest.Wait()
		s.did("head 200, flush")
		s.told(http.StatusOK, false)
		s.w.Finish(nil)
	})
	play(t, "is left to the outer handlers when the run sends none", func(s *setting) {
		s.client.header.Set("Server", "Caddy")
		w := s.begin()
		w.Header().Set("X-Run", "1")
		w.Header().Del("Server")
		w.Finish(nil)
		s.did("")
		if want := (http.Header{"X-Run": {"1"}}); !reflect.DeepEqual(s.client.header, want) {
			s.t.Errorf("header %v, want %v", s.client.header, want)
		}
		if w.Status() != 0 || w.HeadPassedOn() || len(s.owner.heads) != 0 {
			s.t.Errorf("status %d, passed on %v, told %v", w.Status(), w.HeadPassedOn(), s.owner.heads)
		}
	})
	play(t, "is that of another run if this one is withdrawn before", func(s *setting) {
		w := s.begin()
		w.Header().Set("X-Run", "1")
		if !w.Withdraw() {
			s.t.Fatal("it was not withdrawn")
		}
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
		if _, err := w.Write([]byte("late")); err == nil {
			s.t.Error("it could write")
		}
		s.did("")
		if len(s.client.header) != 0 || len(s.owner.heads) != 0 || w.HeadPassedOn() || w.Answered() != 0 {
			s.t.Errorf("header %v, told %v", s.client.header, s.owner.heads)
		}
		next := new(bridge.Writer)
		next.Init(s.client, s.req, s.opts)
		next.WriteHeader(http.StatusCreated)
		next.Finish(nil)
		s.did("head 201")
	})
	play(t, "is not withdrawn when it was passed on, or the run killed", func(s *setting) {
		w := s.begin()
		w.WriteHeader(http.StatusCreated)
		if w.Withdraw() {
			s.t.Error("it was withdrawn")
		}
		s.write(5)
		w.Finish(nil)
		s.did("head 201, write 5")
		killed := s.begin()
		killed.Kill(errors.New("killed"))
		if killed.Withdraw() {
			s.t.Error("it was withdrawn")
		}
	})
	for _, status := range []int{-1, 0, 1, 99, 1000, 9999} {
		play(t, fmt.Sprintf("of the impossible status %d is a 502", status), func(s *setting) {
			s.begin().WriteHeader(status)
			s.write(3)
			s.w.Finish(nil)
			s.did("head 502, write 3")
			s.told(http.StatusBadGateway, false)
		})
	}
	play(t, "of a strange but possible status is passed on", func(s *setting) {
		s.begin().WriteHeader(999)
		s.w.Finish(nil)
		s.did("head 999")
	})
	play(t, "is not sent to a client that has left before it", func(s *setting) {
		s.begin()
		s.leave()
		s.w.WriteHeader(http.StatusOK)
		s.write(inlineLimit + 1)
		isErr(s.t, "flush", s.w.FlushError(), nil)
		s.w.Finish(nil)
		s.did("")
		s.told(http.StatusOK, false)
		if s.w.Status() != http.StatusOK || s.w.HeadPassedOn() || !s.w.Lost() || s.owner.timesLost() != 0 {
			s.t.Errorf("status %d, passed on %v, lost %v, told so %d times",
				s.w.Status(), s.w.HeadPassedOn(), s.w.Lost(), s.owner.timesLost())
		}
		if len(s.client.header) != 0 {
			s.t.Errorf("header %v", s.client.header)
		}
	})
	// An outer handler that panics in WriteHeader once left the lock behind, and
	// with it the run's permit.
	play(t, "goes on as a panic if an outer handler panics", func(s *setting) {
		s.client.onHead = func(int) { panic(errGone) }
		got := panicOf(func() {
			serve(s.w, s.client, s.req, s.opts, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusOK)
			})
		})
		if got != errGone {
			s.t.Errorf("panic %v, want %v", got, errGone)
		}
		if s.w.Status() != http.StatusOK || !s.w.Complete() {
			s.t.Errorf("status %d, complete %v", s.w.Status(), s.w.Complete())
		}
	})
}

func TestHeader(t *testing.T) {
	t.Parallel()
	play(t, "starts as the client's and is the run's own", func(s *setting) {
		s.client.header["Server"] = append(make([]string, 0, 8), "Caddy")
		w := s.begin()
		if got := w.Header().Get("Server"); got != "Caddy" {
			s.t.Errorf("Server %q", got)
		}
		w.Header().Add("Server", "run")
		w.Header().Set("X-Run", "1")
		if want := (http.Header{"Server": {"Caddy"}}); !reflect.DeepEqual(s.client.header, want) {
			s.t.Errorf("the client's header before the head: %v", s.client.header)
		}
		w.WriteHeader(http.StatusOK)
		w.Finish(nil)
		if want := (http.Header{"Server": {"Caddy", "run"}, "X-Run": {"1"}}); !reflect.DeepEqual(s.client.head, want) {
			s.t.Errorf("head %v, want %v", s.client.head, want)
		}
	})
	play(t, "does not reach the client after the head", func(s *setting) {
		w := s.begin()
		w.Header().Set("X-Run", "before")
		w.Header().Set("X-Gone", "before")
		w.WriteHeader(http.StatusOK)
		w.Header().Set("X-Run", "after")
		w.Header().Add("X-New", "after")
		w.Header().Del("X-Gone")
		w.Finish(nil)
		if want := (http.Header{"X-Run": {"before"}, "X-Gone": {"before"}}); !reflect.DeepEqual(s.client.header, want) {
			s.t.Errorf("the client's header: %v, want %v", s.client.header, want)
		}
	})
	play(t, "values appended by an outer handler do not mix with the run's", func(s *setting) {
		w := s.begin()
		w.Header()["Via"] = append(make([]string, 0, 8), "1.1 run")
		s.client.onHead = func(int) { s.client.header.Add("Via", "1.1 outer") }
		w.WriteHeader(http.StatusOK)
		w.Header().Add("Via", "1.1 late")
		w.Finish(nil)
		if want := []string{"1.1 run", "1.1 outer"}; !reflect.DeepEqual(s.client.head["Via"], want) {
			s.t.Errorf("Via %v, want %v", s.client.head["Via"], want)
		}
	})
	play(t, "may be changed by the run while a log reads the client's", func(s *setting) {
		w := s.begin()
		w.Header().Set("X-Run", "1")
		w.WriteHeader(http.StatusOK)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 1000 {
				_ = s.client.header.Clone()
			}
		}()
		for i := range 1000 {
			w.Header().Set("X-Run", fmt.Sprint(i))
			w.Header().Add("X-Late", fmt.Sprint(i))
		}
		<-done
		w.Finish(nil)
	})
	play(t, "may be missing", func(s *setting) {
		s.client.header = nil
		w := s.begin()
		w.Header().Set("X-Run", "1") // no panic
		s.client.header = make(http.Header)
		w.Finish(nil)
	})
}

func TestInformationalHead(t *testing.T) {
	t.Parallel()
	// hint sends a 103 as a transport does: from its own goroutine, while the
	// run waits.
	hint := func(s *setting, links ...string) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, link := range links {
				s.w.Header().Set("Link", link)
				s.w.WriteHeader(http.StatusEarlyHints)
				clear(s.w.Header())
			}
		}()
		<-done
	}
	play(t, "is passed on before the final one, and leaves no trace in its header", func(s *setting) {
		s.client.header.Set("Server", "Caddy")
		s.begin()
		hint(s, "</a.css>", "</b.css>")
		s.did("head 103, head 103")
		if want := (http.Header{"Server": {"Caddy"}}); !reflect.DeepEqual(s.client.header, want) {
			s.t.Errorf("the client's header is %v, want %v", s.client.header, want)
		}
		s.w.WriteHeader(http.StatusOK)
		s.w.Finish(nil)
		want := []info{
			{103, http.Header{"Server": {"Caddy"}, "Link": {"</a.css>"}}},
			{103, http.Header{"Link": {"</b.css>"}}},
		}
		if !reflect.DeepEqual(s.client.infos, want) {
			s.t.Errorf("1xx %v, want %v", s.client.infos, want)
		}
		if len(s.client.head) != 0 || s.w.Status() != http.StatusOK {
			s.t.Errorf("final head %v, status %d", s.client.head, s.w.Status())
		}
		s.told(http.StatusOK, false)
	})
	play(t, "does not end the wait for the final one", func(s *setting) {
		s.begin()
		for _, status := range []int{100, 102, 103, 199} {
			s.w.WriteHeader(status)
		}
		if s.w.Status() != 0 || s.w.HeadPassedOn() || len(s.owner.heads) != 0 {
			s.t.Errorf("status %d, told %v", s.w.Status(), s.owner.heads)
		}
		s.did("head 100, head 102, head 103, head 199")
		s.w.Finish(nil)
	})
	play(t, "is passed on 32 times", func(s *setting) {
		s.begin()
		for range 100 {
			s.w.WriteHeader(http.StatusEarlyHints)
		}
		s.w.WriteHeader(http.StatusOK)
		s.w.Finish(nil)
		if got := len(s.client.infos); got != 32 {
			s.t.Errorf("%d 1xx", got)
		}
	})
	for what, late := range map[string]func(s *setting){
		"the final head":    func(s *setting) { s.w.WriteHeader(http.StatusOK) },
		"a kill":            func(s *setting) { s.w.KillBeforeHead(errKilled) },
		"the client's left": func(s *setting) { s.leave() },
		"the end":           func(s *setting) { s.w.Finish(nil) },
	} {
		play(t, "is dropped after "+what, func(s *setting) {
			s.begin()
			late(s)
			before := s.client.did()
			hint(s, "</a.css>")
			s.did(before)
			s.w.Finish(nil)
		})
	}
	play(t, "leaves no trace if it panics", func(s *setting) {
		s.begin()
		s.client.onHead = func(int) { panic(errGone) }
		s.w.Header().Set("Link", "</a.css>")
		if got := panicOf(func() { s.w.WriteHeader(http.StatusEarlyHints) }); got != errGone {
			s.t.Errorf("panic %v", got)
		}
		if len(s.client.header) != 0 {
			s.t.Errorf("header %v", s.client.header)
		}
		s.client.onHead = nil
		s.w.Finish(nil)
	})
	// A timer kills for all runs of a route: one client that does not read must
	// not hold it up.
	play(t, "that blocks does not block a kill, but the end of the run", func(s *setting) {
		s.begin()
		block, passed := newBlocker(), false
		s.client.onHead = func(int) {
			block.wait()
			passed = true // seen to be a race if the end does not wait
		}
		go s.w.WriteHeader(http.StatusEarlyHints)
		<-block.reached
		if !s.w.KillBeforeHead(errKilled) {
			s.t.Error("the kill came too late")
		}
		s.w.WriteHeader(http.StatusOK) // does not wait either
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			s.w.Finish(nil)
		}()
		close(block.open)
		<-finished
		if !passed {
			s.t.Error("the handler ended while its writer was in use")
		}
		s.did("head 103")
	})
}

func TestWhereTheBodyGoes(t *testing.T) {
	t.Parallel()
	grpc := http.Header{"Content-Type": {"application/grpc"}}
	incremental := http.Header{"Incremental": {"?1"}}
	memory, file, off := spool.Bounds{Memory: 1}, spool.Bounds{File: 1}, spool.Bounds{}
	for _, c := range []struct {
		name   string
		method string
		status int
		header http.Header
		bounds spool.Bounds
		direct bool
		up     int // upgrades
	}{
		{"an answer", "GET", 200, nil, memory, false, 0},
		{"an answer with a file only", "GET", 200, nil, file, false, 0},
		{"response_spool off", "GET", 200, nil, off, true, 0},
		{"an error", "POST", 500, nil, memory, false, 0},
		{"205", "GET", 205, nil, memory, false, 0},
		{"204", "GET", 204, nil, memory, true, 0},
		{"304", "GET", 304, nil, memory, true, 0},
		{"HEAD", "HEAD", 200, nil, memory, true, 0},
		{"gRPC", "POST", 200, grpc, memory, true, 0},
		{"incremental", "GET", 200, incremental, memory, true, 0},
		{"an upgrade", "GET", 101, nil, memory, true, 1},
		{"CONNECT", "CONNECT", 200, nil, memory, true, 1},
		{"CONNECT refused", "CONNECT", 407, nil, memory, false, 0},
	} {
		play(t, c.name, func(s *setting) {
			s.req = httptest.NewRequest(c.method, "http://example.com", nil)
			s.opts.Stream.Bounds = c.bounds
			w := s.begin()
			maps.Copy(w.Header(), c.header)
			w.WriteHeader(c.status)
			s.told(c.status, c.direct)
			if s.owner.upgraded != c.up {
				s.t.Errorf("told of %d upgrades, want %d", s.owner.upgraded, c.up)
			}
			w.Finish(nil)
		})
	}
}

func TestNeverSpooled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		contentType string
		want        bool
	}{
		{"", false},
		{"text/html", false},
		{"application/grpc", true},
		{"application/grpc+proto", true},
		{"application/grpc+json; charset=utf-8", true},
		{"application/grpc;v=1", true},
		{"application/grpc-web", false},
		{"application/grpc-web+proto", false},
		{"application/grpc-web-text", false},
		{"application/grpcish", false},
		{"application/grpc; =", false},
		{"text/plain; x=application/grpc", false},
	} {
		h := http.Header{}
		if c.contentType != "" {
			h.Set("Content-Type", c.contentType)
		}
		if got := bridge.IsGRPC(h); got != c.want {
			t.Errorf("IsGRPC with Content-Type %q: %v", c.contentType, got)
		}
		if got := bridge.NeverSpooled(h); got != c.want {
			t.Errorf("NeverSpooled with Content-Type %q: %v", c.contentType, got)
		}
	}
	for _, c := range []struct {
		incremental []string
		want        bool
	}{
		{nil, false},
		{[]string{}, false},
		{[]string{""}, false},
		{[]string{"?1"}, true},
		{[]string{" ?1 "}, true},
		{[]string{"?1;reason=stream"}, true},
		{[]string{"?0"}, false},
		{[]string{"1"}, false},
		{[]string{"true"}, false},
		{[]string{`"?1"`}, false},
		{[]string{"?1, ?1"}, false}, // a list is not an item
		{[]string{"?1", "?1"}, false},
		{[]string{"?1", "?0"}, false},
		{[]string{"?2"}, false},
		{[]string{"(?1)"}, false},
	} {
		h := http.Header{"Incremental": c.incremental}
		if c.incremental == nil {
			h = nil
		}
		if got := bridge.NeverSpooled(h); got != c.want {
			t.Errorf("NeverSpooled with Incremental %q: %v", c.incremental, got)
		}
	}
}
