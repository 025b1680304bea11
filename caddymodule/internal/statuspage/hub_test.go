package statuspage_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/statuspage"
)

func TestNothingIsCollectedWithoutViewers(t *testing.T) {
	t.Parallel()
	s := new(source)
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		pass(time.Hour)
		if n := s.collected(); n != 0 {
			t.Errorf("%d collections before the first viewer", n)
		}
		v := watch(t, page, "")
		pass(10 * time.Second)
		end(v)
		before := s.collected()
		pass(time.Hour)
		if n := s.collected() - before; n != 0 {
			t.Errorf("%d collections after the last viewer", n)
		}
	})
}

func TestOneCollectionASecondServesAllViewers(t *testing.T) {
	t.Parallel()
	s := new(source)
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		var viewers []*viewer
		for range 20 {
			viewers = append(viewers, watch(t, page, ""))
		}
		pass(10*time.Second + 500*time.Millisecond)
		if n := s.collected(); n != 11 {
			t.Errorf("%d collections in 10 s", n)
		}
		for _, v := range viewers {
			if n := len(v.messages(t)); n != 11 {
				t.Errorf("a viewer has received %d messages", n)
			}
		}
		end(viewers...)
	})
}

func TestRequestsOfAPoolAreCollectedWhileItIsOpened(t *testing.T) {
	t.Parallel()
	s := &source{change: func(now *admin.Status) {
		now.Pools = []admin.PoolStatus{pool("a", 1, 1, 0, 10), pool("b", 1, 1, 0, 10)}
	}}
	asked := func() (pools []string) {
		s.set(func() { pools = slices.Clone(s.asked) })
		return pools
	}
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		all, first, second := watch(t, page, ""), watch(t, page, "&pool=a"), watch(t, page, "&pool=a")
		pass(2 * time.Second)
		if got := asked(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("the requests of %v were collected", got)
		}
		if first.last(t, "detail") == nil || first.last(t, "pool") != nil || all.last(t, "pool") == nil || all.last(t, "detail") != nil {
			t.Error("a page receives the parts of another one")
		}
		end(first, second)
		pass(2 * time.Second)
		if got := asked(); len(got) > 0 {
			t.Errorf("the requests of %v were collected", got)
		}
		end(all)
	})
}

// A viewer that reads nothing for a while holds up no other. Then one message has all
// changes.
func TestASlowViewerMissesFramesAndNoChange(t *testing.T) {
	t.Parallel()
	waiting := 0
	s := &source{change: func(now *admin.Status) {
		now.Pools = []admin.PoolStatus{pool("a", 1, 1, waiting, 10), pool("idle", 0, 1, 0, 10)}
	}}
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		slow, quick := watch(t, page, ""), watch(t, page, "")
		pass(2500 * time.Millisecond)
		before := len(slow.messages(t))
		again := make(chan struct{})
		slow.mu.Lock()
		slow.stuck = again
		slow.mu.Unlock()
		pass(5 * time.Second)
		s.set(func() { waiting = 7 })
		pass(5 * time.Second)
		if got := len(quick.messages(t)); got != 13 {
			t.Errorf("the other viewer has received %d messages in 12.5 s", got)
		}
		close(again)
		pass(0)
		if got := len(slow.messages(t)) - before; got != 2 { // one was on its way
			t.Errorf("the slow viewer has received %d messages", got)
		}
		var names []string
		messages := slow.messages(t)
		for _, p := range messages[len(messages)-1] {
			if p.Kind != "pool" {
				continue
			}
			var row struct{ Name, Waiting string }
			if err := json.Unmarshal(p.Value, &row); err != nil || row.Waiting != "7 / 10" {
				t.Errorf("it is shown %s, %v", p.Value, err)
			}
			names = append(names, row.Name)
		}
		if !slices.Equal(names, []string{"a"}) {
			t.Errorf("the pools %v were sent", names)
		}
		end(slow, quick)
	})
}

func TestViewersAreBounded(t *testing.T) {
	t.Parallel()
	bubble(t, new(source), func(t *testing.T, page *statuspage.Page) {
		var viewers []*viewer
		for range 100 {
			viewers = append(viewers, watch(t, page, ""))
		}
		pass(time.Second)
		if w := get(t, page, "?events"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "at most 100") {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		if w := get(t, page, ""); w.Code != http.StatusOK {
			t.Errorf("the page itself: got %d", w.Code)
		}
		end(viewers[0])
		next := watch(t, page, "")
		pass(time.Second)
		if len(next.messages(t)) == 0 {
			t.Error("a viewer in place of one that has left receives nothing")
		}
		end(append(viewers[1:], next)...)
	})
}

func TestClosingAPageEndsItsStreams(t *testing.T) {
	t.Parallel()
	s := new(source)
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		v := watch(t, page, "")
		pass(time.Second)
		page.Close()
		<-v.gone
		if w := get(t, page, "?events"); w.Code != http.StatusServiceUnavailable {
			t.Errorf("a stream of a closed page: got %d", w.Code)
		}
		if w := get(t, page, ""); w.Code != http.StatusOK {
			t.Errorf("the page itself: got %d", w.Code)
		}
	})
}

// plotted counts the steps with a value in the last plot that a viewer has received.
func plotted(t *testing.T, v *viewer, kind string) (n int) {
	t.Helper()
	var plot struct{ Waiting []*float64 }
	if err := json.Unmarshal(v.last(t, kind), &plot); err != nil {
		t.Fatal(err)
	}
	for _, value := range plot.Waiting {
		if value != nil {
			n++
		}
	}
	return n
}

func TestTheHistoryStaysFifteenMinutesWithoutAViewer(t *testing.T) {
	t.Parallel()
	s := &source{change: func(now *admin.Status) { now.Pools = []admin.PoolStatus{pool("a", 1, 1, 3, 10)} }}
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		look := func(d time.Duration) (fine, coarse int) {
			v := watch(t, page, "")
			pass(d)
			fine, coarse = plotted(t, v, "fine"), plotted(t, v, "coarse")
			end(v)
			return fine, coarse
		}
		if fine, coarse := look(time.Minute + time.Millisecond); fine != 60 || coarse < 12 || coarse > 13 {
			t.Errorf("a minute has %d and %d steps", fine, coarse)
		}
		pass(10 * time.Minute)
		if fine, coarse := look(10 * time.Second); fine > 12 || coarse < 13 {
			t.Errorf("10 min later %d and %d steps are left", fine, coarse)
		}
		pass(16 * time.Minute)
		if fine, coarse := look(10*time.Second + time.Millisecond); fine != 10 || coarse > 3 {
			t.Errorf("after 16 min without a viewer %d and %d steps are left", fine, coarse)
		}
	})
}

func TestRatesAndReasonsComeFromTheCounters(t *testing.T) {
	t.Parallel()
	n := uint64(0)
	s := &source{change: func(now *admin.Status) {
		p := pool("a", 1, 1, 2, 10)
		p.Pool.Admitted, p.Pool.Rejected = 20*n, map[string]uint64{"queue_full": 5 * n}
		n++
		now.Pools = []admin.PoolStatus{p}
	}}
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		v := watch(t, page, "")
		pass(4500 * time.Millisecond)
		var row struct{ Admitted, Rejected, State string }
		if err := json.Unmarshal(v.last(t, "pool"), &row); err != nil || row.Admitted != "20" || row.Rejected != "5.0" || row.State != "rejecting" {
			t.Errorf("the row is %+v, %v", row, err)
		}
		var plot struct {
			Admitted []*float64
			Rejected map[string][]*float64
		}
		if err := json.Unmarshal(v.last(t, "fine"), &plot); err != nil {
			t.Fatal(err)
		}
		if i := len(plot.Admitted) - 1; *plot.Admitted[i] != 20 || *plot.Rejected["queue_full"][i] != 5 {
			t.Errorf("the plot ends with %v, %v", *plot.Admitted[i], *plot.Rejected["queue_full"][i])
		}
		end(v)
	})
}

func TestAServerThatDoesNotAnswerIsShownWithItsLastNumbers(t *testing.T) {
	t.Parallel()
	s := &source{change: func(now *admin.Status) { now.Pools = []admin.PoolStatus{pool("a", 3, 8, 0, 10)} }}
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		v := watch(t, page, "")
		pass(2 * time.Second)
		s.set(func() { s.err = errors.New("no server answers at localhost:2019") })
		pass(3 * time.Second)
		if clock := string(v.last(t, "clock")); !strings.Contains(clock, "no server answers") {
			t.Errorf("the clock is %s", clock)
		}
		if text := get(t, page, "").Body.String(); !strings.Contains(text, "no server answers") || !strings.Contains(text, "3 / 8") {
			t.Errorf("the page is %s", text)
		}
		s.set(func() { s.err = nil })
		pass(2 * time.Second)
		if clock := string(v.last(t, "clock")); strings.Contains(clock, "no server") {
			t.Errorf("the clock is %s", clock)
		}
		end(v)
	})
}

// Many requests of the page do not cost more than one a second.
func TestPagesWithinASecondShareACollection(t *testing.T) {
	t.Parallel()
	s := &source{change: func(now *admin.Status) { now.Pools = []admin.PoolStatus{pool("a", 3, 8, 0, 10)} }}
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		for range 50 {
			get(t, page, "")
		}
		get(t, page, "?pool=a")
		get(t, page, "")
		if n := s.collected(); n != 2 { // the second for the requests of the pool
			t.Errorf("%d collections", n)
		}
		pass(time.Minute)
		get(t, page, "")
		if n := s.collected(); n != 3 {
			t.Errorf("%d collections", n)
		}
	})
}

// A collection that comes late leaves no gap: its rates are those of the time since the last
// one. A page without viewers for a while has a gap.
func TestLateCollectionsLeaveNoGap(t *testing.T) {
	t.Parallel()
	s := &source{change: func(now *admin.Status) { now.Pools = []admin.PoolStatus{pool("a", 1, 1, 3, 10)} }}
	bubble(t, s, func(t *testing.T, page *statuspage.Page) {
		for _, pause := range []time.Duration{0, time.Second, 4 * time.Second, time.Second, 20 * time.Second} {
			pass(pause)
			get(t, page, "")
		}
		v := watch(t, page, "")
		pass(100 * time.Millisecond)
		if n := plotted(t, v, "fine"); n != 7 {
			t.Errorf("%d steps", n)
		}
		end(v)
	})
}
