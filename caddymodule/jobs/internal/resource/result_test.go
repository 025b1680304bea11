package resource

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func TestResultBeforeTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := site(t)
		for _, state := range []jobs.State{jobs.Queued, jobs.Running, jobs.RetryWait} {
			id := s.add(state)
			w := s.do(t, "GET", jobPath(id, "result"))
			mustBe(t, w, 202, "")
			if got := object(t, w.Body.Bytes()); got["state"] != state.String() || w.Header().Get("Retry-After") == "" || w.Header().Get("Location") != jobPath(id, "") {
				t.Errorf("%s: %v %v", state, got, w.Header())
			}
		}
		id := s.add(jobs.Queued)
		time.AfterFunc(2*time.Second, func() { s.change(id, responds(201), writes("made"), ends) })
		began := time.Now()
		if w := s.do(t, "GET", jobPath(id, "result"), "Prefer", "wait=9"); w.Code != 201 || w.Body.String() != "made" || time.Since(began) != 2*time.Second {
			t.Errorf("%d %s after %s", w.Code, w.Body, time.Since(began))
		}
	})
}

func TestResultWithoutAResponse(t *testing.T) {
	t.Parallel()
	s := site(t)
	for _, tt := range []struct {
		state            jobs.State
		reason           string
		status           int
		problem, attempt string
	}{
		{jobs.Failed, "outcome_unknown", 502, "no_result", "reset"},
		{jobs.Dead, "", 502, "no_result", "dial"},
		{jobs.Dead, "", 504, "no_result_in_time", "run_timeout"},
		{jobs.Failed, "attempt_timeout", 504, "no_result_in_time", ""},
		{jobs.Cancelled, "", 410, "cancelled", ""},
		{jobs.Expired, "", 410, "expired", ""},
	} {
		id := s.add(tt.state, func(j *fakeJob) {
			j.Reason = tt.reason
			j.Attempts = []jobs.AttemptRecord{{Generation: 1, Number: 1, Class: jobs.Broken, Reason: tt.attempt}}
		})
		w := s.do(t, "GET", jobPath(id, "result"))
		mustBe(t, w, tt.status, tt.problem)
		if got := object(t, w.Body.Bytes()); len(got["attempts"].([]any)) != 1 || got["state"] != tt.state.String() || w.Header().Get("Retry-After") != "" {
			t.Errorf("%v", got)
		}
	}
}

func TestStoredAnswer(t *testing.T) {
	t.Parallel()
	s := site(t)
	id := s.add(jobs.Queued, responds(
		200, jobs.Field{Name: "Content-Type", Value: "text/csv"}, jobs.Field{Name: "Set-Cookie", Value: "a=b"}, jobs.Field{Name: "X-Rows", Value: "2"},
		jobs.Field{Name: "X-Rows", Value: "3"}, jobs.Field{Name: "ETag", Value: `"theirs"`}, jobs.Field{Name: "Cache-Control", Value: "public"},
		jobs.Field{Name: "Connection", Value: "close"}, jobs.Field{Name: "Content-Length", Value: "99"}, jobs.Field{Name: "X-Content-Type-Options", Value: "none"},
	), writes("a,b\n"), ends, func(j *fakeJob) {
		j.Attempts = []jobs.AttemptRecord{{Generation: 1, Number: 1, Began: j.Created.Add(1500 * time.Millisecond), Ended: j.Created.Add(2 * time.Second)}}
	})
	for _, method := range []string{"GET", "HEAD"} {
		w := s.do(t, method, jobPath(id, "result"))
		h := w.Header()
		for field, want := range map[string]string{
			"Content-Type": "text/csv", "Set-Cookie": "", "ETag": `"1.1"`, "Cache-Control": "private, no-cache", "Connection": "",
			"Content-Length": "4", "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Server-Timing": `offload-queue;dur=1500, offload-run;dur=500, offload-attempts;desc="1"`, "Offload-Job-State": "succeeded",
		} {
			if got := strings.Join(h.Values(field), "; "); got != want {
				t.Errorf("%s: %q, want %q", field, got, want)
			}
		}
		if w.Code != 200 || len(h.Values("X-Rows")) != 2 || (method == "GET") != (w.Body.String() == "a,b\n") {
			t.Errorf("%s: %d %v %q", method, w.Code, h, w.Body)
		}
	}
	mustBe(t, s.do(t, "GET", jobPath(id, "result"), "If-None-Match", `"1.1"`), 304, "")
	mustBe(t, s.do(t, "GET", jobPath(id, "result"), "If-Match", `"1.2"`), 412, "changed")
}

// A stored answer with another status than 200 is sent as it is, whole.
func TestStoredErrorAnswer(t *testing.T) {
	t.Parallel()
	s := site(t)
	id := s.add(jobs.Queued, responds(503, jobs.Field{Name: "Retry-After", Value: "9"}), writes("sorry"), ends, to(jobs.Failed))
	w := s.do(t, "GET", jobPath(id, "result"), "Range", "bytes=0-0", "If-None-Match", "*")
	if w.Code != 503 || w.Body.String() != "sorry" || w.Header().Get("Accept-Ranges") != "" || w.Header().Get("Retry-After") != "" || w.Header().Get("Offload-Job-State") != "failed" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	empty := s.add(jobs.Queued, responds(204), ends)
	if w := s.do(t, "GET", jobPath(empty, "result")); w.Code != 204 || w.Header().Get("Content-Length") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// serve serves the site over HTTP/1 or 2.
func (s *testSite) serve(t *testing.T, http2 bool) (client *http.Client, url string) {
	t.Helper()
	server := httptest.NewUnstartedServer(s)
	server.EnableHTTP2 = http2
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Client(), server.URL
}

func get(t *testing.T, c *http.Client, url string, fields ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// expect reads bytes that must come now.
func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// each runs a test over HTTP/1 and 2.
func each(t *testing.T, f func(t *testing.T, s *testSite, c *http.Client, url string)) {
	t.Helper()
	for name, http2 := range map[string]bool{"HTTP1": false, "HTTP2": true} {
		t.Run(name, func(t *testing.T) {
			s := site(t)
			c, url := s.serve(t, http2)
			f(t, s, c, url)
		})
	}
}

func TestGrowingResult(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *testSite, c *http.Client, url string) {
		id := s.add(jobs.Queued, responds(200, jobs.Field{Name: "Content-Type", Value: "text/plain"}))
		res := get(t, c, url+jobPath(id, "result")) // the head comes before the first byte
		if res.StatusCode != 200 || res.ContentLength != -1 || res.Header.Get("ETag") != `"1.1"` || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v", res)
		}
		for _, part := range []string{"one ", "two ", "three"} {
			s.change(id, writes(part))
			expect(t, res.Body, part)
		}
		late := get(t, c, url+jobPath(id, "result"))
		expect(t, late.Body, "one two three")
		s.change(id, func(j *fakeJob) { j.Response.Trailer = []jobs.Field{{Name: "X-Sum", Value: "7"}} }, ends)
		for _, r := range []*http.Response{res, late} {
			if rest, err := io.ReadAll(r.Body); err != nil || len(rest) > 0 {
				t.Errorf("the end: %q, %v", rest, err)
			}
			if got := r.Trailer.Get("X-Sum"); got != "7" {
				t.Errorf("trailer %q", got)
			}
		}
	})
}

// An attempt that ends before its response is complete cuts the answer, so that the client
// does not take a part for the whole.
func TestBrokenAttemptCutsTheAnswer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *testSite, c *http.Client, url string) {
		id := s.add(jobs.Queued, responds(200), writes("part"))
		whole := get(t, c, url+jobPath(id, "result"))
		follows := get(t, c, url+jobPath(id, "result"), "Range", "bytes=0-999999999999")
		for _, res := range []*http.Response{whole, follows} {
			expect(t, res.Body, "part")
		}
		s.change(id, dies)
		for _, res := range []*http.Response{whole, follows} {
			if rest, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("a clean end after %q", rest)
			}
		}
		again := get(t, c, url+jobPath(id, "result"))
		if again.StatusCode != 202 {
			t.Errorf("the next request: %d", again.StatusCode)
		}
	})
}

func TestRangesOfGrowingResults(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *testSite, c *http.Client, url string) {
		id := s.add(jobs.Queued, responds(200), writes("0123456789"))
		path := url + jobPath(id, "result")
		for field, want := range map[string]string{
			"bytes=4-": "bytes 4-9/* 456789", "bytes=4-5": "bytes 4-5/* 45", "bytes=4-50": "bytes 4-9/* 456789", "bytes=9-": "bytes 9-9/* 9",
		} {
			res := get(t, c, path, "Range", field, "If-Range", `"1.1"`)
			text, err := io.ReadAll(res.Body)
			if got := res.Header.Get("Content-Range") + " " + string(text); err != nil || res.StatusCode != 206 || got != want {
				t.Errorf("%s: %d %q, %v, want %q", field, res.StatusCode, got, err, want)
			}
		}
		follow := get(t, c, path, "Range", "bytes=8-999999999999")
		if got := follow.Header.Get("Content-Range"); follow.StatusCode != 206 || got != "bytes 8-999999999999/*" {
			t.Errorf("%d %s", follow.StatusCode, got)
		}
		expect(t, follow.Body, "89")
		for _, fields := range [][]string{{"Range", "bytes=-3"}, {"Range", "bytes=4-", "If-Range", `"1.0"`}, {"Range", "lines=1-"}} {
			if res := get(t, c, path, fields...); res.StatusCode != 200 {
				t.Errorf("%v: %d", fields, res.StatusCode)
			}
		}
		waits := make(chan *http.Response)
		go func() { waits <- get(t, c, path, "Range", "bytes=10-") }() // of the next byte
		s.change(id, writes("ab"))
		res := testkit.Receive(t, waits)
		if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 206 || string(text) != "ab" {
			t.Errorf("%d %q %v", res.StatusCode, text, err)
		}
		go func() { waits <- get(t, c, path, "Range", "bytes=12-") }() // of a byte that does not come
		s.change(id, ends)
		if res := testkit.Receive(t, waits); res.StatusCode != 416 || res.Header.Get("Content-Range") != "bytes */12" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		if rest, err := io.ReadAll(follow.Body); err != nil || string(rest) != "ab" {
			t.Errorf("followed %q, %v", rest, err)
		}
	})
}

// A response whose length the upstream has announced has ranges of that length at once.
func TestGrowingResultOfKnownLength(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *testSite, c *http.Client, url string) {
		id := s.add(jobs.Queued, responds(200, jobs.Field{Name: "Content-Length", Value: "10"}), writes("01234"))
		whole := get(t, c, url+jobPath(id, "result"))
		last := get(t, c, url+jobPath(id, "result"), "Range", "bytes=-2")
		if whole.ContentLength != 10 || last.ContentLength != 2 || last.Header.Get("Content-Range") != "bytes 8-9/10" {
			t.Errorf("%v, %v", whole, last)
		}
		s.change(id, writes("56789"), ends)
		expect(t, whole.Body, "0123456789")
		expect(t, last.Body, "89")
	})
}

func TestReadersAreBounded(t *testing.T) {
	t.Parallel()
	s := site(t, func(o *Options) { o.Limits.Readers = 2 })
	c, url := s.serve(t, false)
	id, other := s.add(jobs.Queued, responds(200)), s.add(jobs.Queued, responds(200))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	for range 2 {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+jobPath(id, "result"), nil)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
	}
	if res := get(t, c, url+jobPath(id, "result")); res.StatusCode != 429 {
		t.Errorf("the third reader: %d", res.StatusCode)
	}
	if res := get(t, c, url+jobPath(other, "result")); res.StatusCode != 200 {
		t.Errorf("a reader of another job: %d", res.StatusCode)
	}
	leave()
	testkit.Eventually(t, func() bool { return s.readersOf(id) == 0 })
	s.change(id, ends)
	if res := get(t, c, url+jobPath(id, "result")); res.StatusCode != 200 {
		t.Errorf("after the end: %d", res.StatusCode)
	}
}

// FuzzRange compares the answers for complete results with those of net/http. Unlike it,
// this package answers with everything if a field is not understood or has several ranges.
func FuzzRange(f *testing.F) {
	for _, text := range []string{"bytes=0-", "bytes=-1", "bytes=2-3", "bytes=5-2", "bytes=99-", "bytes=-0", "bytes=1-99999999999999999999", "bytes=0-0,2-3", "x", "bytes=", "bytes= 1-2", "bytes=-", "Bytes=0-", "byte\u017f=0-"} {
		f.Add(text, 5)
	}
	f.Fuzz(func(t *testing.T, field string, length int) {
		length = max(0, min(length, 1000))
		data := bytes.Repeat([]byte("0123456789"), 100)[:length]
		s := newSite(fakeStore{f: newFake()}, usual())
		defer s.Close()
		id := s.add(jobs.Queued, responds(200, jobs.Field{Name: "Content-Type", Value: "text/plain"}), writes(string(data)), ends)
		got := s.do(t, "GET", jobPath(id, "result"), "Range", field)
		want := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.Header.Set("Range", field)
		if unit, text, ok := strings.Cut(field, "="); ok && strings.ToLower(unit) == "bytes" {
			r.Header.Set("Range", "bytes="+text) // net/http knows the unit in lower case only
		}
		want.Header().Set("Content-Type", "text/plain")
		http.ServeContent(want, r, "", time.Time{}, bytes.NewReader(data))
		a, known := parseRange(field)
		switch {
		case length == 0: // net/http answers with all of nothing, or not, by the form of the field
			if got.Code != 200 && got.Code != 416 || got.Body.Len() > 0 && got.Code == 200 {
				t.Errorf("%q of nothing: %d", field, got.Code)
			}
		case known && (a.suffix == 0 || max(a.first, a.last, a.suffix) == math.MaxInt64):
			// net/http sends no bytes as a part of 0 bytes, and does not read larger numbers.
			if got.Code != 206 && got.Code != 416 {
				t.Errorf("%q of %d: %d", field, length, got.Code)
			}
		case !known || want.Code == 200:
			if got.Code != 200 && got.Code != want.Code || got.Code == 200 && !bytes.Equal(got.Body.Bytes(), data) {
				t.Errorf("%q of %d: %d", field, length, got.Code)
			}
		case got.Code != want.Code:
			t.Errorf("%q of %d: %d, net/http %d", field, length, got.Code, want.Code)
		case got.Code == 206 && (got.Body.String() != want.Body.String() || got.Header().Get("Content-Range") != want.Header().Get("Content-Range")):
			t.Errorf("%q of %d: %v %q, net/http %v %q", field, length, got.Header(), got.Body, want.Header(), want.Body)
		}
	})
}

// A result that many slow clients read takes memory for each of them, not for its length.
func TestSlowReadersTakeLittleMemory(t *testing.T) {
	s := site(t, func(o *Options) { o.Limits.Readers = 1000 })
	c, url := s.serve(t, false)
	const clients = 50
	c.Transport.(*http.Transport).MaxConnsPerHost = 0
	id := s.add(jobs.Queued, responds(200), writes(strings.Repeat("x", 64<<20)))
	before := heap()
	for range clients {
		res := get(t, c, url+jobPath(id, "result"))
		expect(t, res.Body, "xxxx")
	}
	if grown := heap() - before; grown > clients*512<<10 {
		t.Errorf("%d slow readers take %d KiB", clients, grown>>10)
	}
	if n := s.readersOf(id); n != clients {
		t.Errorf("%d readers", n)
	}
}
