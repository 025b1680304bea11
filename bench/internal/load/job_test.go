package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/journal"
)

// count sorts samples as the scenarios do.
func count(samples []Sample) (ok, refused, failed int) {
	for _, s := range samples {
		switch {
		case s.OK():
			ok++
		case s.Refused():
			refused++
		default:
			failed++
		}
	}
	return ok, refused, failed
}

func play(t *testing.T, stream Stream) []Sample {
	t.Helper()
	result, err := Run(t.Context(), Job{Streams: []Stream{stream}})
	if err != nil {
		t.Fatal(err)
	}
	return result.Streams[0]
}

// mixed rejects every third request and breaks off every fifth.
func mixed(n int64, _ *http.Request) (string, bool) {
	switch {
	case n%5 == 4:
		return brokenText, true
	case n%3 == 2:
		return refusedText, false
	default:
		return okText, false
	}
}

// wantMixed returns the counts of the first n requests to mixed.
func wantMixed(n int64) (ok, refused, failed int) {
	for i := range n {
		switch text, _ := mixed(i, nil); text {
		case okText:
			ok++
		case refusedText:
			refused++
		default:
			failed++
		}
	}
	return ok, refused, failed
}

func TestEveryRequestIsCountedOnce(t *testing.T) {
	wantOK, wantRefused, wantFailed := wantMixed(60)
	for name, stream := range map[string]Stream{
		"closed": {Kind: Closed, Clients: 4, Requests: 15, Duration: patience},
		"open":   {Kind: Open, Rate: 60_000, Duration: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, mixed)
			stream.Addr, stream.Path, stream.Timeout = f.addr, "/", patience
			samples := play(t, stream)
			ok, refused, failed := count(samples)
			if ok != wantOK || refused != wantRefused || failed != wantFailed {
				t.Fatalf("%d ok, %d refused, %d failed, want %d, %d, %d", ok, refused, failed, wantOK, wantRefused, wantFailed)
			}
			if sent := f.requests.Load(); sent != 60 {
				t.Fatalf("the server saw %d requests, want 60", sent)
			}
		})
	}
}

func TestClosedClientsKeepTheirConnections(t *testing.T) {
	f := newFake(t, always(okText))
	play(t, Stream{Kind: Closed, Addr: f.addr, Path: "/", Clients: 3, Requests: 10, Duration: patience, Timeout: patience})
	if dialed := f.dialed.Load(); dialed != 3 {
		t.Fatalf("%d connections, want one for each of 3 clients", dialed)
	}
}

// A server that does not answer must not delay the following requests of an
// open loop: this one answers only when all have arrived.
func TestOpenLoopDoesNotWaitForAnswers(t *testing.T) {
	const requests = 40
	var all sync.WaitGroup
	all.Add(requests)
	f := newFake(t, func(int64, *http.Request) (string, bool) {
		all.Done()
		all.Wait()
		return okText, false
	})
	samples := play(t, Stream{
		Kind: Open, Addr: f.addr, Path: "/", Rate: requests * 1000, Duration: time.Millisecond, Timeout: patience,
	})
	if ok, _, _ := count(samples); ok != requests {
		t.Fatalf("%d answered, want %d", ok, requests)
	}
}

func TestOpenLoopLatencyCountsFromTheDueTime(t *testing.T) {
	f := newFake(t, always(okText))
	due := time.Now().Add(-time.Hour)
	lines := pool{addr: f.addr, buffer: answerBuffer}
	defer lines.close()
	stream := Stream{Addr: f.addr, Path: "/", Timeout: 2 * time.Hour}
	sample := stream.openRequest(t.Context(), &lines, stream.request(), due)
	if !sample.OK() || sample.Took < time.Hour || sample.Late < time.Hour || sample.Late > sample.Took {
		t.Fatalf("sample %+v, want an hour late", sample)
	}
}

func TestTimeoutIsAFailure(t *testing.T) {
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	f := newFake(t, func(int64, *http.Request) (string, bool) {
		<-never
		return "", true
	})
	stream := Stream{Kind: Closed, Addr: f.addr, Path: "/", Clients: 2, Requests: 1, Duration: patience, Timeout: time.Millisecond}
	if _, _, failed := count(play(t, stream)); failed != 2 {
		t.Fatalf("%d failed, want 2", failed)
	}
	stream.Duration, stream.Cut, stream.Timeout = time.Millisecond, time.Millisecond, patience
	if samples := play(t, stream); len(samples) != 0 {
		t.Fatalf("%d samples, want what was cut off to be left out", len(samples))
	}
}

func TestSlowClientsAskAgainAfterARefusal(t *testing.T) {
	for name, stream := range map[string]Stream{
		"reader": {Kind: SlowReader},
		"writer": {Kind: SlowWriter, Body: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(n int64, _ *http.Request) (string, bool) {
				if n < 2 {
					return refusedText, false
				}
				return okText, false
			})
			stream.Addr, stream.Path, stream.Clients, stream.Requests = f.addr, "/", 1, 1
			stream.Duration, stream.Timeout, stream.Pause, stream.Pace = patience, patience, time.Nanosecond, 1<<30
			if ok, refused, failed := count(play(t, stream)); ok != 1 || refused != 2 || failed != 0 {
				t.Fatalf("%d ok, %d refused, %d failed, want 1, 2, 0", ok, refused, failed)
			}
		})
	}
}

func TestPaceIsBytesPerSecond(t *testing.T) {
	if got := atPace(32<<10, 64<<10); got != 500*time.Millisecond {
		t.Fatalf("32 KiB at 64 KiB/s take %v, want 500ms", got)
	}
}

func TestEventsAreSamplesOfTheirDelay(t *testing.T) {
	f := newFake(t, func(int64, *http.Request) (string, bool) {
		past := time.Now().Add(-time.Minute).UnixNano()
		body := fmt.Sprintf(": hello\n\ndata: %d\n\ndata: %d\n\n", past, past)
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body), false
	})
	samples := play(t, Stream{Kind: Events, Addr: f.addr, Path: "/", Clients: 2, Duration: patience, Timeout: patience})
	if ok, _, _ := count(samples); ok != 4 {
		t.Fatalf("%d events, want 4", ok)
	}
	for _, s := range samples {
		if s.Took < time.Minute {
			t.Fatalf("delay %v, want at least a minute", s.Took)
		}
	}
}

func TestRefusedEventsAreNoEvents(t *testing.T) {
	f := newFake(t, always(refusedText))
	samples := play(t, Stream{Kind: Events, Addr: f.addr, Path: "/", Clients: 1, Duration: patience, Timeout: patience})
	if ok, refused, failed := count(samples); ok != 0 || refused != 1 || failed != 0 {
		t.Fatalf("%d ok, %d refused, %d failed, want one refusal", ok, refused, failed)
	}
}

func TestStreamsKeepTheirOrder(t *testing.T) {
	f := newFake(t, always(okText))
	stream := func(requests int) Stream {
		return Stream{Kind: Closed, Addr: f.addr, Path: "/", Clients: 1, Requests: requests, Duration: patience, Timeout: patience}
	}
	result, err := Run(t.Context(), Job{Streams: []Stream{stream(3), stream(1), stream(2)}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{3, 1, 2} {
		if got := len(result.Streams[i]); got != want {
			t.Errorf("stream %d: %d samples, want %d", i, got, want)
		}
	}
}

func TestBadStreamsAreErrors(t *testing.T) {
	for _, stream := range []Stream{{Kind: "sideways"}, {Kind: Open}} {
		if _, err := Run(t.Context(), Job{Streams: []Stream{stream}}); err == nil {
			t.Errorf("%+v: no error", stream)
		}
	}
}

func TestServe(t *testing.T) {
	f := newFake(t, always(okText))
	job, err := json.Marshal(Job{Streams: []Stream{
		{Kind: Closed, Addr: f.addr, Path: "/", Clients: 2, Requests: 2, Duration: patience, Timeout: patience},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Serve(t.Context(), ServeStreams, bytes.NewReader(job), &out); err != nil {
		t.Fatal(err)
	}
	var result Result
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		t.Fatal(err)
	}
	if ok, _, _ := count(result.Streams[0]); ok != 4 {
		t.Fatalf("%d ok, want 4", ok)
	}
	if err := Serve(t.Context(), "other", strings.NewReader("{}"), &out); err == nil {
		t.Fatal("an unknown kind: no error")
	}
	if err := Serve(t.Context(), ServeStreams, strings.NewReader("no"), &out); err == nil {
		t.Fatal("a job that is no JSON: no error")
	}
}

func TestInterruptedLoadEnds(t *testing.T) {
	f := newFake(t, always(okText))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	for _, stream := range []Stream{
		{Kind: Closed, Clients: 1, Duration: patience},
		{Kind: Open, Rate: 1, Duration: patience},
		{Kind: SlowReader, Clients: 1, Requests: 1, Duration: patience, Pace: 1},
	} {
		stream.Addr, stream.Path, stream.Timeout = f.addr, "/", patience
		if _, err := Run(ctx, Job{Streams: []Stream{stream}}); err != nil {
			t.Errorf("%s: %v", stream.Kind, err)
		}
	}
}

func TestRequestsCarryTheirNumbers(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int)
	f := newFake(t, func(_ int64, r *http.Request) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.Method+" "+r.Header.Get(journal.Header)]++
		return okText, false
	})
	before := time.Now()
	result, err := Run(t.Context(), Job{Streams: []Stream{{
		Kind: Open, Addr: f.addr, Path: "/", Body: 3, Rate: 3000, First: 100, Duration: time.Millisecond, Timeout: patience,
	}}})
	if err != nil || result.Began.Before(before) || result.Began.After(time.Now()) {
		t.Fatalf("began %v, %v", result.Began, err)
	}
	for i, sample := range result.Streams[0] {
		if sample.Number != 100+i || seen[fmt.Sprintf("POST %d", 100+i)] != 1 {
			t.Errorf("sample %d has the number %d", i, sample.Number)
		}
	}
	if len(seen) != 3 {
		t.Errorf("requests %v, want 3", seen)
	}
}
