package worker

import (
	"context"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T) *Server {
	t.Helper()
	s := New()
	t.Cleanup(s.Close)
	return s
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/ping":              {http.StatusOK, "pong\n"},
		"/factorial/0":       {http.StatusOK, "1"},
		"/factorial/5":       {http.StatusOK, "120"},
		"/factorial/20":      {http.StatusOK, "2432902008176640000"},
		"/factorial/junk":    {http.StatusBadRequest, "whole number"},
		"/factorial/1.5":     {http.StatusBadRequest, "whole number"},
		"/factorial/--1":     {http.StatusBadRequest, "whole number"},
		"/factorial/-1":      {http.StatusBadRequest, "negative"},
		"/factorial/200001":  {http.StatusUnprocessableEntity, "limit is 200000"},
		"/factorial/9999999": {http.StatusUnprocessableEntity, "limit is 200000"},
		"/factorial/123456789012345678901234567890": {http.StatusUnprocessableEntity, "limit"},
		"/nothing/here": {http.StatusNotFound, ""},
	} {
		rec := get(s, path)
		if rec.Code != want.status || !strings.Contains(rec.Body.String(), want.body) {
			t.Errorf("%s: %d %q, want %d %q", path, rec.Code, rec.Body, want.status, want.body)
		}
	}
}

func TestLargestFactorial(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a second, ten with the race detector")
	}
	rec := get(setup(t), "/factorial/"+strconv.Itoa(MaxN))
	if want := new(big.Int).MulRange(1, MaxN).String(); rec.Body.String() != want {
		t.Errorf("%d digits, want %d", rec.Body.Len(), len(want))
	}
	if pieces := rec.Body.Len()/pieceBytes + 1; pieces > maxPieces {
		t.Errorf("up to %d pieces, but room for %d", pieces, maxPieces)
	}
}

func TestBigRequestDelaysPing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := httptest.NewRequest(http.MethodGet, "/factorial/10000", nil)
	r.SetPathValue("n", "10000")
	big, computed := newReply(), false
	s.tasks <- func() {
		s.factorial(r, big)
		computed = true
	}
	if get(s, "/ping").Body.String() != "pong\n" || !computed {
		t.Error("ping was answered before the big request was computed")
	}
}

func TestNothingIsAnsweredWhileTheLoopIsBlocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t)
		release, answered := make(chan struct{}), make(chan struct{})
		s.tasks <- func() { <-release }
		go func() {
			get(s, "/ping")
			close(answered)
		}()
		synctest.Wait()
		select {
		case <-answered:
			t.Error("ping was answered without the loop")
		default:
		}
		close(release)
		<-answered
	})
}

func TestLoopRunsOneHandlerAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t)
		running, gate := 0, make(chan struct{})
		h := s.onLoop(func(*http.Request, *reply) {
			running++
			if running != 1 {
				t.Error("two handlers on the loop")
			}
			<-gate
			running--
		})
		for range 5 {
			go get(h, "/")
		}
		for range 5 {
			synctest.Wait()
			gate <- struct{}{}
		}
	})
}

func TestFailedWriteEndsTheFormatting(t *testing.T) {
	t.Parallel()
	s := setup(t)
	p := newReply()
	close(p.gone)
	r := httptest.NewRequest(http.MethodGet, "/factorial/5000", nil)
	r.SetPathValue("n", "5000")
	s.factorial(r, p)
	if len(p.pieces) != 0 || !p.cut {
		t.Errorf("%d pieces for nobody, cut %t", len(p.pieces), p.cut)
	}

	p = newReply()
	p.say(http.StatusOK, "text")
	close(p.pieces)
	p.copyTo(brokenWriter{})
	if _, open := <-p.gone; open {
		t.Error("the loop was not told that nobody reads")
	}
}

// brokenWriter is the response writer of a client that left.
type brokenWriter struct{}

func (brokenWriter) Header() http.Header       { return http.Header{} }
func (brokenWriter) WriteHeader(int)           {}
func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("client left") }

func TestCloseAnswersTheWaitingAndCutsTheRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New()
		release := make(chan struct{})
		s.tasks <- func() { <-release }
		status := make(chan int)
		go func() { status <- get(s, "/ping").Code }()
		synctest.Wait()
		go s.Close()
		if got := <-status; got != http.StatusServiceUnavailable {
			t.Errorf("the waiting one got %d", got)
		}
		close(release)
		s.Close()

		p := newReply()
		r := httptest.NewRequest(http.MethodGet, "/factorial/5000", nil)
		r.SetPathValue("n", "5000")
		s.factorial(r, p)
		close(p.pieces)
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("a response that was cut ended cleanly")
			}
		}()
		p.copyTo(httptest.NewRecorder())
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- New().Serve(ctx, ln) }()

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://" + ln.Addr().String() + "/factorial/3000")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if want := new(big.Int).MulRange(1, 3000).String(); err != nil || string(body) != want {
		t.Errorf("%d digits, %v", len(body), err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("serving ended with %v", err)
	}
}

func FuzzParseN(f *testing.F) {
	for _, seed := range []string{"0", "1000", "-1", "007", "+5", "1e3", "200001", "", "٣", "99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseN(text)
		if err != nil {
			if n != 0 {
				t.Errorf("%q: %d beside error %v", text, n, err)
			}
			return
		}
		if n < 0 || n > MaxN {
			t.Errorf("%q gave %d", text, n)
		}
		if want := strings.TrimLeft(text, "0"); want != "" && want != strconv.FormatInt(n, 10) {
			t.Errorf("%q gave %d", text, n)
		}
	})
}
