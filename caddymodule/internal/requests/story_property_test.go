package requests_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// The numbers in the sentences about a request agree with each other and with the decision,
// for requests in random pools, some of which lose their backend for a while.
func TestSentencesContradictNothing(t *testing.T) {
	t.Parallel()
	seen, held := map[offloader.Reason]int{}, map[offloader.Reason]int{}
	for seed := range uint64(40) {
		for _, r := range recordsOf(t, seed) {
			e := requests.Explanation{Decision: requests.DecidedRejected, Reason: r.Reason, Recorded: true, Record: r, Waited: r.Waited}
			if r.Reason == 0 {
				e.Decision = requests.DecidedServed
			}
			text := strings.Join(e.Sentences(), " ")
			seen[r.Reason]++
			if r.Held {
				held[r.Reason]++
			}
			if wrong := contradiction(text, &r); wrong != "" {
				t.Fatalf("seed %d: %s\n%s\n%+v", seed, wrong, text, r)
			}
		}
	}
	for _, reason := range []offloader.Reason{offloader.QueueFull, offloader.WaitTimeout, offloader.PredictedLate} {
		if seen[reason] < 100 {
			t.Errorf("only %d with %s; seen %v", seen[reason], reason, seen)
		}
	}
	for _, reason := range []offloader.Reason{0, offloader.QueueFull, offloader.WaitTimeout, offloader.BreakerOpen} {
		if held[reason] < 50 {
			t.Errorf("only %d held with %q; seen %v", held[reason], reason, held)
		}
	}
}

// wrongWait matches a text by which permits were the reason of a wait.
var wrongWait = regexp.MustCompile(`permits? (was|were) in use|mean run|No permit came free|would have been enough|warming up|was predicted`)

// contradiction returns the fault of a text, empty if nothing is.
func contradiction(text string, r *offloader.Record) string {
	queued := number(text, `after ([\d.]+) (ms|s|min|h) in the queue`)
	limit := number(text, "`max_wait`(?: is|,) ([\\d.]+) (ms|s|min|h)")
	away := number(text, `its turn was ([\d.]+) (ms|s|min|h) away`)
	total := number(text, `That makes ([\d.]+) (ms|s|min|h)`)
	permits := number(text, "`concurrency (\\d+)()`")
	waitsForBreaker := strings.Contains(text, "requests waited for it to close")
	switch {
	case r.Held != waitsForBreaker:
		return "it does not name the breaker if that held the request, and only then"
	case r.Held && wrongWait.MatchString(text):
		return "it waited for the breaker, and not for permits"
	}
	switch r.Reason {
	case offloader.PredictedLate:
		switch {
		case total <= limit:
			return "it would have been in time"
		case queued+away < total*0.93 || queued+away > total*1.07:
			return "the parts make another sum"
		case permits > 0 && float64(r.Waited+r.Rest)*float64(r.Concurrency)/permits > float64(r.MaxWait):
			return "that many permits would not have been enough"
		case permits == 0 && r.BusyFor <= 2*r.Run:
			return "it names no setting that would have been enough"
		}
	case offloader.QueueFull:
		waiting, allowed := number(text, `(\d+)() requests? waited, where`), number(text, "where `queue` allows (\\d+)()")
		if waiting < allowed {
			return "there was room"
		}
		if more := number(text, "`queue (\\d+)()`"); more > 0 && (more <= float64(r.QueueLimit) || (r.MaxWait > 0 && r.Waited+r.Rest > r.MaxWait)) {
			return "a longer queue would not have been enough"
		}
	case offloader.WaitTimeout:
		if limit > 0 && queued < limit*0.99 {
			return "it could have waited longer"
		}
	}
	if longer := setting(text, "`max_wait ([0-9a-z.]+)`"); longer > 0 && longer <= max(r.MaxWait, r.Waited+r.Rest) {
		return "that wait would not have been enough"
	}
	return ""
}

// number returns a quantity in a text, with durations in seconds, and zero without one.
func number(text, pattern string) float64 {
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		return 0
	}
	return n * map[string]float64{"": 1, "ms": 0.001, "s": 1, "min": 60, "h": 3600}[found[2]]
}

func setting(text, pattern string) time.Duration {
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	d, _ := time.ParseDuration(found[1])
	return d
}

// recordsOf plays a random crowd in front of a random pool, and returns the records of its
// decisions. Each second pool has a breaker that holds callers, and a backend that fails for
// a while.
func recordsOf(t *testing.T, seed uint64) (all []offloader.Record) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		s := offloader.Settings{
			Concurrency: 1 + rnd.IntN(4), Queue: rnd.IntN(60), MaxWait: time.Duration(rnd.IntN(5)) * time.Second,
			Order: offloader.Order(rnd.IntN(4) / 3),
		}
		fails, works := time.Now(), time.Now()
		if seed%2 == 1 {
			s.Queue++
			s.Breaker = &offloader.BreakerSettings{ConsecutiveFailures: 2, CoolDown: time.Second, Probes: 1, Hold: time.Duration(1+rnd.IntN(6)) * time.Second}
			fails = fails.Add(time.Duration(rnd.IntN(4)) * time.Second)
			works = fails.Add(time.Duration(1+rnd.IntN(8)) * time.Second)
		}
		pool, err := offloader.New("reports", s)
		if err != nil {
			t.Fatal(err)
		}
		var (
			callers sync.WaitGroup
			mu      sync.Mutex
		)
		run := time.Duration(20+rnd.IntN(300)) * time.Millisecond
		for range 300 {
			took := run + time.Duration(rnd.IntN(50))*time.Millisecond
			if rnd.IntN(100) == 0 {
				took *= 20
			}
			callers.Go(func() {
				ticket := &offloader.Ticket{Pool: pool}
				permit, err := ticket.Acquire(context.Background())
				rejected, ok := errors.AsType[*offloader.RejectedError](err)
				if ok {
					_ = ticket.NextRetry(rejected.Reason)
				}
				if r, ok := ticket.Record(); ok {
					mu.Lock()
					all = append(all, r)
					mu.Unlock()
				}
				if ok {
					return
				}
				outcome := offloader.Success
				if began := time.Now(); !began.Before(fails) && began.Before(works) {
					outcome = offloader.Failure
				}
				<-time.After(took)
				permit.Release(outcome)
			})
			synctest.Wait()
			<-time.After(time.Duration(rnd.Int64N(int64(run) / int64(s.Concurrency))))
		}
		callers.Wait()
		if err := pool.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	return all
}
