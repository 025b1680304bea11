package load

import (
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"
)

func TestSlicesCountRequestsOfEachTarget(t *testing.T) {
	good, bad := newFake(t, always(okText)), newFake(t, always(refusedText))
	pids := []int{os.Getpid()}
	results, err := RunSlices(t.Context(), SliceJob{
		Targets: []SliceTarget{{Addr: good.addr, Path: "/", PIDs: pids}, {Addr: bad.addr, Path: "/", PIDs: pids}},
		Clients: 2, Warmup: time.Millisecond, Slice: time.Millisecond, Rounds: 3, Buffer: 4 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Failed != 0 || r.CPU <= 0 || r.Time < 3*time.Millisecond {
		t.Errorf("good target: %+v", r)
	}
	if seen := good.requests.Load(); int64(results[0].Requests) > seen {
		t.Errorf("%d requests counted, the server saw %d", results[0].Requests, seen)
	}
	if r := results[1]; r.Requests != 0 || r.Failed == 0 {
		t.Errorf("bad target: %+v, want failures only", r)
	}
}

// An open loop keeps its connections from slice to slice.
func TestSlicesAtARate(t *testing.T) {
	good, bad := newFake(t, always(okText)), newFake(t, always(refusedText))
	pids := []int{os.Getpid()}
	results, err := RunSlices(t.Context(), SliceJob{
		Targets: []SliceTarget{{Addr: good.addr, Path: "/", PIDs: pids}, {Addr: bad.addr, Path: "/", PIDs: pids}},
		Rate:    1000, Warmup: 2 * time.Millisecond, Slice: 10 * time.Millisecond, Rounds: 3, Buffer: 4 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Requests != 30 || len(r.Took) != 30 || r.Failed != 0 {
		t.Errorf("good target: %d requests, %d times, %d failed, want 30, 30, 0", r.Requests, len(r.Took), r.Failed)
	}
	if r := results[1]; r.Requests != 0 || len(r.Took) != 0 || r.Failed != 30 {
		t.Errorf("bad target: %d requests, %d times, %d failed, want 0, 0, 30", r.Requests, len(r.Took), r.Failed)
	}
	if dialed := good.dialed.Load(); dialed > 10 {
		t.Errorf("%d connections, want at most as many as a slice has requests", dialed)
	}
}

func TestSliceFigures(t *testing.T) {
	r := SliceResult{Requests: 200, CPU: 10 * time.Millisecond, Time: 2 * time.Second}
	if r.CPUPerRequest() != 50 || r.Throughput() != 100 {
		t.Fatalf("%v us, %v rps, want 50 and 100", r.CPUPerRequest(), r.Throughput())
	}
}

func TestCrowdTellsWaitingFromAnswered(t *testing.T) {
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	f := newFake(t, func(n int64, _ *http.Request) (string, bool) {
		if n < 2 {
			return refusedText, false
		}
		<-never
		return "", true
	})
	c := &crowd{job: CrowdJob{Addr: f.addr, PIDs: []int{os.Getpid()}, Path: "/", Clients: 6}}
	for range c.job.Clients {
		nc, err := dial(t.Context(), &net.Dialer{}, f.addr, slowBuffer)
		if err != nil {
			t.Fatal(err)
		}
		c.conns = append(c.conns, nc)
	}
	if err := c.send(); err != nil {
		t.Fatal(err)
	}
	for c.answered.Load() < 2 {
		runtime.Gosched()
	}
	c.leave()
	if got := c.answered.Load(); got != 2 {
		t.Fatalf("%d ended early, want the 2 that were refused", got)
	}
}
