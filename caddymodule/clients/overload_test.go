//go:build integration

package clients

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// The crowd: the backend has room for permits / runFor = 20 runs a second. Obedient clients
// want half of them while they come, and impatient ones far more than the rest: there are
// more of them than permits and places, and each of those asks again and again.
const (
	permits   = 4
	places    = 20 // the work of a second
	obedient  = 10 // of each kind
	impatient = 40
	crowdFor  = 14 * time.Second // in which the obedient come
	// hastyMin and hastyMax are the least and the longest pause of an impatient client. All of
	// them together ask 130 times a second. Many more requests would slow down the machine, and
	// with it the runs, until turns are announced that some clients do not wait for.
	hastyMin, hastyMax = 100 * time.Millisecond, 500 * time.Millisecond
)

// Under three times the load that can be served, at least 90 % of the obedient clients of
// each kind that were rejected are served on their second try, however impatient others are.
func TestObedientClientsAreServed(t *testing.T) {
	pools := fmt.Sprintf("pool crowd {\nconcurrency %d\nqueue %d\nbreaker off\n}\n", permits, places)
	p := startProxy(t, pools, "@behind path /crowd/* /crowd.*\noffload @behind crowd {\nunspooled off\n}")
	callers := map[string]caller{}
	for _, k := range crowdKinds() {
		callers[k.name] = k.open(t)
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var hasty, all sync.WaitGroup
	for i := range impatient {
		hasty.Go(func() { p.hammer(ctx, t, i) })
	}
	p.eventually(t, "the pool is full", func() bool { return p.rejected(t, "crowd") > 0 })
	for n, k := range crowdKinds() {
		for i := range obedient {
			all.Go(func() {
				testkit.Pause(rand.N(crowdFor))
				one := call{ID: crowdID(k, i), Method: http.MethodGet, Obey: !k.retries, Fields: map[string]string{
					"X-Forwarded-For": fmt.Sprintf("198.51.%d.%d", 100+n, i), // each is elsewhere
				}}
				if k.grpc {
					one.Method = http.MethodPost
				}
				one.URL = p.clear + situation{name: "crowd"}.path(k, one.ID)
				callers[k.name].call(t, one)
			})
		}
	}
	all.Wait()
	end()
	hasty.Wait()
	testkit.Quiet(settle)
	sends := p.sends(t)
	for _, k := range crowdKinds() {
		wantServed(t, k, sends)
	}
}

// rejected is how many requests a pool has rejected because of its full queue.
func (p *proxy) rejected(t *testing.T, pool string) int {
	t.Helper()
	var numbers struct {
		Rejected map[string]int `json:"rejected_total"`
	}
	p.ask(t, http.MethodGet, "/offload/pools/"+pool, "", &numbers)
	return numbers.Rejected["queue_full"]
}

// crowdKinds are the clients that can obey, with one way of use each.
func crowdKinds() []kind {
	var list []kind
	for _, k := range here() {
		if !k.stubborn {
			list = append(list, k)
		}
	}
	return list
}

func crowdID(k kind, i int) string { return fmt.Sprint(k.name, "-", i) }

// wantServed counts the tries of the clients of a kind.
func wantServed(t *testing.T, k kind, sends map[string][]send) {
	t.Helper()
	tries := map[int]int{} // how many clients were served by it
	rejected := 0
	for i := range obedient {
		of := sends[crowdID(k, i)]
		n := served(of)
		if n == 0 || n > 2 {
			t.Logf("%s: announced %v s, back after %v s", crowdID(k, i), announced(of), pauses(of))
		}
		tries[n]++
		if n != 1 {
			rejected++
		}
	}
	t.Logf("%-14s served on try 1, 2, 3, 4: %d, %d, %d, %d; never: %d", k.name, tries[1], tries[2], tries[3], tries[4], tries[0])
	if rejected == 0 {
		t.Errorf("%s: no client was rejected", k.name)
	}
	if 10*tries[2] < 9*rejected {
		t.Errorf("%s: %d of %d rejected clients were served on their second try", k.name, tries[2], rejected)
	}
}

// served is the number of the try that was served, 0 if none was.
func served(sends []send) int {
	for i, s := range sends {
		code := s.fields.Get("Grpc-Status")
		if s.status == http.StatusOK && (code == "" || code == "0") {
			return i + 1
		}
	}
	return 0
}

// hammer asks again and again, each time on a new connection.
func (p *proxy) hammer(ctx context.Context, t *testing.T, i int) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.clear+"/crowd/hasty/hasty", nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("X-Forwarded-For", fmt.Sprint("192.0.2.", i))
		if res, err := client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		testkit.PauseUntil(ctx, hastyMin+rand.N(hastyMax-hastyMin))
	}
}
