package resource

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var viewers = flag.Int("viewers", 1000, "how many clients TestManyViewers has")

// heap returns how much memory is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// record follows events on a recorder until the stream ends, and returns its text.
func (s *testSite) record(t *testing.T, id jobs.ID, fields ...string) string {
	t.Helper()
	w := s.do(t, "GET", jobPath(id, "events"), fields...)
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// names returns the names and states of the events of a stream.
func names(t *testing.T, text string) (all []string) {
	t.Helper()
	for message := range strings.SplitSeq(text, "\n\n") {
		var name, state string
		for line := range strings.Lines(message) {
			line = strings.TrimSuffix(line, "\n")
			if after, ok := strings.CutPrefix(line, "event: "); ok {
				name = after
			}
			if after, ok := strings.CutPrefix(line, "data: "); ok {
				var data struct{ State string }
				if err := json.Unmarshal([]byte(after), &data); err != nil {
					t.Errorf("%v: %s", err, after)
				}
				state = data.State
			}
		}
		if name != "" {
			all = append(all, name+" "+state)
		}
	}
	return all
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		id := s.add(jobs.Queued, func(j *fakeJob) { j.Position = 3 })
		steps := []func(*fakeJob){
			func(j *fakeJob) { j.Position = 1 },
			func(j *fakeJob) { j.State, j.Attempt, j.Position = jobs.Running, 1, 0 },
			func(j *fakeJob) { j.Progress = jobs.Progress{Percent: 50, Message: "half", At: time.Now()} },
			responds(200),
			dies,
			func(j *fakeJob) { j.dead, j.State, j.Attempt = false, jobs.Running, 2 },
			responds(200),
			ends,
		}
		for i, step := range steps {
			time.AfterFunc(time.Duration(i+1)*time.Second, func() { s.change(id, step) })
		}
		text := s.record(t, id)
		want := []string{
			"state queued", "progress queued", "attempt running", "state running", "progress running", "state streaming",
			"state retry_wait", "attempt running", "state running", "state streaming", "done succeeded",
		}
		if got := names(t, text); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for _, part := range []string{"retry: 2000\n\n", "id: 1-1\nevent: state\ndata: {", `"position":3`, `"percent":50,"message":"half"`, "id: 1-9\nevent: done\n"} {
			if !strings.Contains(text, part) {
				t.Errorf("no %q in %s", part, text)
			}
		}
	})
}

func TestEventStreamFields(t *testing.T) {
	t.Parallel()
	s := site(t)
	id := s.add(jobs.Dead)
	for _, method := range []string{"GET", "HEAD"} {
		w := s.do(t, method, jobPath(id, "events"))
		for field, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"} {
			if got := w.Header().Get(field); got != want {
				t.Errorf("%s: %q, want %q", field, got, want)
			}
		}
		if (method == "GET") != strings.Contains(w.Body.String(), "event: done") {
			t.Errorf("%s: %s", method, w.Body)
		}
	}
}

// A client that comes back gets no event that it has, and no stream once it has the last one.
func TestEventsAfterAConnectionHasBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		id := s.add(jobs.Queued)
		time.AfterFunc(time.Second, func() { s.change(id, responds(200), ends) })
		if got := names(t, s.record(t, id, "Last-Event-ID", "1-1")); fmt.Sprint(got) != "[done succeeded]" {
			t.Errorf("got %q", got)
		}
		if got := names(t, s.record(t, id, "Last-Event-ID", "1-1")); fmt.Sprint(got) != "[done succeeded]" {
			t.Errorf("got %q", got)
		}
		if w := s.do(t, "GET", jobPath(id, "events"), "Last-Event-ID", "1-2"); w.Code != 204 {
			t.Errorf("after the last event: %d", w.Code)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		id := s.add(jobs.Queued)
		time.AfterFunc(46*time.Second, func() { s.change(id, to(jobs.Expired)) })
		if n := strings.Count(s.record(t, id), "\n: "); n != 3 {
			t.Errorf("%d comments in 46 s", n)
		}
	})
}

// Many reports of progress become few events, and the last one is not lost.
func TestProgressIsCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		id := s.add(jobs.Running)
		for i := range 1000 {
			time.AfterFunc(time.Duration(i)*2*time.Millisecond, func() {
				s.change(id, func(j *fakeJob) { j.Progress = jobs.Progress{Percent: float64(i) / 10, At: time.Now()} })
			})
		}
		time.AfterFunc(5*time.Second, func() { s.change(id, to(jobs.Dead)) })
		text := s.record(t, id)
		if n := strings.Count(text, "event: progress"); n < 7 || n > 9 {
			t.Errorf("%d events in 2 s", n)
		}
		if !strings.Contains(text, `event: progress`+"\n"+`data: {"state":"running","generation":1,"attempt":0,"bytes":0,"percent":99.9}`) {
			t.Error("the last progress is lost")
		}
	})
}

func TestEventsOfARemovedJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		id := s.add(jobs.Queued)
		time.AfterFunc(time.Second, func() { _ = s.Forget(context.Background(), id) })
		if got := names(t, s.record(t, id)); fmt.Sprint(got) != "[state queued done removed]" {
			t.Errorf("got %q", got)
		}
	})
}

func TestCloseEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		id := s.add(jobs.Queued)
		time.AfterFunc(time.Second, s.Close)
		if got := names(t, s.record(t, id)); fmt.Sprint(got) != "[state queued]" {
			t.Errorf("got %q", got)
		}
	})
}

func TestStreamsAreBoundedByTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t, func(o *Options) { o.Limits.Events = 2 })
		id, bobs := s.add(jobs.Queued), s.add(jobs.Queued, func(j *fakeJob) { j.Tenant = "bob" })
		ctx, leave := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		follow := func(id jobs.ID) {
			clients.Go(func() {
				s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", jobPath(id, "events"), nil))
			})
		}
		follow(id)
		follow(id)
		follow(bobs)
		synctest.Wait()
		mustBe(t, s.do(t, "GET", jobPath(id, "events")), 429, "too_many_readers")
		leave()
		clients.Wait()
		if len(s.events.n) != 0 {
			t.Errorf("still counts %v", s.events.n)
		}
	})
}

// Many viewers of one job get its end, and each takes little memory.
func TestManyViewers(t *testing.T) {
	if testkit.Race && *viewers > 1000 {
		t.Skip("the race detector has a limit of goroutines")
	}
	s := site(t, func(o *Options) { o.Limits.Events = *viewers })
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *viewers}}
	t.Cleanup(c.CloseIdleConnections)
	id := s.add(jobs.Running)
	before := heap()
	ended := make(chan bool, *viewers)
	var begun atomic.Int64
	connects := make(chan bool, 50) // as the queue of a listener has few places
	for range *viewers {
		go func() {
			connects <- true
			res := get(t, c, server.URL+jobPath(id, "events"))
			<-connects
			lines := bufio.NewScanner(res.Body)
			state, done := false, false
			for lines.Scan() {
				if !state && strings.HasPrefix(lines.Text(), "data: ") {
					state = true
					begun.Add(1)
				}
				done = done || lines.Text() == "event: done"
			}
			ended <- done
		}()
	}
	if !testkit.Poll(time.Minute, func() bool { return begun.Load() == int64(*viewers) }) {
		t.Fatalf("%d of %d viewers have got an event", begun.Load(), *viewers)
	}
	if each := (heap() - before) / int64(*viewers); each > 128<<10 {
		t.Errorf("each viewer and its client take %d KiB", each>>10)
	}
	s.change(id, func(j *fakeJob) { j.Progress = jobs.Progress{Percent: 1, At: time.Now()} })
	s.change(id, to(jobs.Dead))
	for range *viewers {
		if !testkit.Receive(t, ended) {
			t.Fatal("a stream has ended without its last event")
		}
	}
}
