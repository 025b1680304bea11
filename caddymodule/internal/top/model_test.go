package top

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// server is a source without a server.
type server struct {
	pools     []Pool
	requests  map[string][]Request
	cancelled []string
	err       error
}

func (s *server) Pools() ([]Pool, error)                  { return s.pools, s.err }
func (s *server) Requests(pool string) ([]Request, error) { return s.requests[pool], s.err }

func (s *server) Cancel(id string) (string, error) {
	s.cancelled = append(s.cancelled, id)
	return id + ": cancelled while it was running", s.err
}

// screen is a model that has its commands run at once.
type screen struct {
	t *testing.T
	m Model
	s *server
}

func newScreen(t *testing.T, s *server, width, height int) *screen {
	t.Helper()
	m := New(s, time.Hour, View{time.Now(), s.pools})
	sc := &screen{t, m, s}
	sc.send(tea.WindowSizeMsg{Width: width, Height: height})
	return sc
}

// send gives the model a message, and then what its commands answer, but for its clock.
func (sc *screen) send(msg tea.Msg) (quits bool) {
	sc.t.Helper()
	next, cmd := sc.m.Update(msg)
	sc.m = next.(Model)
	return sc.run(cmd)
}

func (sc *screen) run(cmd tea.Cmd) (quits bool) {
	if cmd == nil {
		return false
	}
	switch msg := cmd().(type) {
	case tea.QuitMsg:
		return true
	case tea.BatchMsg:
		for _, cmd := range msg {
			quits = sc.run(cmd) || quits
		}
		return quits
	case nil:
		return false
	default:
		return sc.send(msg)
	}
}

// look lets the clock tick, without waiting for its next tick.
func (sc *screen) look() {
	sc.t.Helper()
	next, cmd := sc.m.look()
	sc.m = next
	sc.run(cmd)
}

var keys = map[string]tea.Key{
	"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape},
	"pgdown": {Code: tea.KeyPgDown}, "pgup": {Code: tea.KeyPgUp}, "end": {Code: tea.KeyEnd}, "home": {Code: tea.KeyHome},
	"ctrl+c": {Code: 'c', Mod: tea.ModCtrl},
}

func (sc *screen) press(names ...string) (quits bool) {
	sc.t.Helper()
	for _, name := range names {
		key, ok := keys[name]
		if !ok {
			key = tea.Key{Code: rune(name[0]), Text: name}
		}
		quits = sc.send(tea.KeyPressMsg(key))
	}
	return quits
}

// lines returns the screen without colours.
func (sc *screen) lines() []string {
	var lines []string
	for _, line := range sc.m.Lines() {
		lines = append(lines, strings.TrimRight(ansi.Strip(line), " "))
	}
	return lines
}

func (sc *screen) text() string { return strings.Join(sc.lines(), "\n") }

// selected returns the line with the mark.
func (sc *screen) selected() string {
	i := slices.IndexFunc(sc.lines(), func(line string) bool { return strings.HasPrefix(line, marked) })
	if i < 0 {
		return ""
	}
	return strings.TrimPrefix(sc.lines()[i], marked)
}

func figure(n, of int) Figure {
	return Figure{Text: fmt.Sprintf("%d/%d", n, of), Value: float64(n), Share: float64(n) / float64(of)}
}

func manyPools(n int) []Pool {
	pools := make([]Pool, n)
	for i := range pools {
		pools[i] = Pool{
			Name: fmt.Sprintf("pool%03d", i), State: "closed", Running: figure(i%8, 8), Waiting: figure((i*7)%100, 100),
			Oldest: Figure{Text: "1.5s", Value: 1.5}, MeanRun: Figure{Text: "300ms", Value: 0.3}, Admitted: uint64(i), Rejected: 3,
		}
	}
	return pools
}

var reports = []Pool{
	{Name: "/report/* on http://reports.example.com:8080", State: "open", Level: Broken, Running: figure(0, 3), Waiting: figure(12, 20), Notes: "warming up, 1 of 3, 2 abandoned, concurrency 3 (configured 8)"},
	{Name: "exports", State: "closed", Running: figure(4, 8), Waiting: figure(0, 100)},
}

// At each width all lines fit, none is cut within a word, and what matters most is there.
func TestScreenFitsItsTerminal(t *testing.T) {
	t.Parallel()
	for _, pools := range [][]Pool{nil, reports, manyPools(200)} {
		for _, width := range []int{50, 80, 120} {
			for _, height := range []int{4, 24, 300} {
				sc := newScreen(t, &server{pools: pools}, width, height)
				for _, keys := range [][]string{nil, {"s"}, {"enter"}, {"c"}} {
					sc.press(keys...)
					lines := sc.lines()
					if len(lines) != height {
						t.Errorf("%dx%d: %d lines", width, height, len(lines))
					}
					for _, line := range lines {
						if n := ansi.StringWidth(line); n > width {
							t.Errorf("%dx%d: a line of %d: %s", width, height, n, line)
						}
					}
				}
			}
		}
	}
	for width, want := range map[int][]string{
		50:  {"POOL", "0/3", "12/20", "open", "BREAKER"},
		80:  {"/report/* on", "0/3", "12/20", "open", "BREAKER", "NOTES", "warming up, 1 of 3…"},
		120: {"/report/* on", "0/3", "12/20", "open", "BREAKER", "REJECTED/s", "NOTES", "warming up, 1 of 3"},
	} {
		text := newScreen(t, &server{pools: reports}, width, 24).text()
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%d: no %s in\n%s", width, part, text)
			}
		}
	}
}

func TestScreenCountsPools(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0 pools", 1: "1 pool  ", 2: "2 pools"} {
		if got := newScreen(t, &server{pools: manyPools(n)}, 80, 24).lines()[0]; !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Keys scroll through more pools than the terminal has lines.
func TestScreenScrolls(t *testing.T) {
	t.Parallel()
	sc := newScreen(t, &server{pools: manyPools(200)}, 80, 24)
	for _, step := range []struct{ key, want string }{
		{"up", "pool000"},
		{"down", "pool001"},
		{"j", "pool002"},
		{"k", "pool001"},
		{"pgdown", "pool022"},
		{"end", "pool199"},
		{"down", "pool199"},
		{"pgup", "pool178"},
		{"home", "pool000"},
		{"G", "pool199"},
		{"g", "pool000"},
		{"x", "pool000"},
	} {
		sc.press(step.key)
		if got := sc.selected(); !strings.HasPrefix(got, step.want+" ") {
			t.Errorf("after %s: %s is selected, want %s", step.key, got, step.want)
		}
	}
	sc.press("end")
	if got := sc.lines()[0]; !strings.Contains(got, "180-200 of 200") {
		t.Errorf("got %s", got)
	}
	sc.s.pools = sc.s.pools[:100] // the selected pool is gone
	sc.look()
	if got := sc.selected(); !strings.HasPrefix(got, "pool000 ") {
		t.Errorf("got %s", got)
	}
}

// The keys s and r sort; the selected pool stays selected.
func TestScreenSorts(t *testing.T) {
	t.Parallel()
	pools := []Pool{
		{Name: "a", State: "closed", Running: figure(1, 8), Waiting: figure(5, 9), Oldest: Figure{Value: 3}, MeanRun: Figure{Value: 1}},
		{Name: "b", State: "open", Level: Broken, Running: figure(3, 8), Waiting: figure(1, 9), Oldest: Figure{Value: 1}, MeanRun: Figure{Value: 2}},
		{Name: "c", State: "closed", Running: figure(2, 8), Waiting: figure(9, 9), Oldest: Figure{Value: 2}, MeanRun: Figure{Value: 3}},
	}
	s := &server{pools: slices.Clone(pools)}
	sc := newScreen(t, s, 120, 24)
	s.pools = slices.Clone(pools)
	for i := range s.pools {
		s.pools[i].Admitted, s.pools[i].Rejected = uint64(10*i), uint64(100-i)
	}
	sc.look()
	order := func() string {
		all := ""
		for _, line := range sc.lines()[2:5] {
			all += strings.Fields(strings.TrimPrefix(line, marked))[0]
		}
		return all
	}
	for _, step := range []struct{ key, want string }{
		{"x", "abc"}, {"s", "bca"}, {"s", "cab"}, {"s", "acb"}, {"s", "cba"}, {"s", "cba"}, {"s", "abc"}, {"s", "bac"}, {"s", "abc"}, {"r", "cba"}, {"S", "cab"},
	} {
		sc.press(step.key)
		if got := order(); got != step.want {
			t.Errorf("after %s, by %s: %s, want %s", step.key, sortings[sc.m.sorting].title, got, step.want)
		}
	}
	if got := sc.selected(); !strings.HasPrefix(got, "a ") {
		t.Errorf("selected is %s", got)
	}
}

// A pool opens, and one of its requests is cancelled after a confirmation only.
func TestScreenCancelsARequest(t *testing.T) {
	t.Parallel()
	s := &server{pools: reports, requests: map[string][]Request{"exports": {
		{ID: "first", Phase: "running", Age: "3.0s", Client: "192.0.2.7", Line: "GET example.com/a", Notes: "abandoned"},
		{ID: "second", Phase: "waiting 1", Age: "1.0s", Client: "192.0.2.8", Line: "GET example.com/b"},
	}}}
	sc := newScreen(t, s, 100, 24)
	sc.press("down", "enter")
	for _, want := range []string{"exports", "4/8 running", "0/100 waiting", "breaker closed", "GET example.com/a", "waiting 1", "192.0.2.8", "abandoned", "esc back"} {
		if !strings.Contains(sc.text(), want) {
			t.Errorf("no %s in\n%s", want, sc.text())
		}
	}
	sc.press("down", "c")
	if got := sc.lines()[23]; got != "cancel request second? y/n" {
		t.Errorf("got %s", got)
	}
	sc.press("n")
	if got := sc.lines()[23]; got != "not cancelled" || len(s.cancelled) > 0 {
		t.Errorf("got %s, %v", got, s.cancelled)
	}
	s.requests["exports"] = s.requests["exports"][1:]
	sc.press("c", "y")
	if got := sc.lines()[23]; got != "second: cancelled while it was running" || !slices.Equal(s.cancelled, []string{"second"}) {
		t.Errorf("got %s, %v", got, s.cancelled)
	}
	if strings.Contains(sc.text(), "first") {
		t.Errorf("the list is old\n%s", sc.text())
	}
	s.requests["exports"] = nil
	sc.look()
	sc.press("c") // there is none
	if !strings.Contains(sc.text(), "no requests") || strings.Contains(sc.text(), "cancel request") {
		t.Errorf("got\n%s", sc.text())
	}
	sc.press("esc")
	if !strings.HasPrefix(sc.selected(), "exports ") || !strings.Contains(sc.text(), "enter open") {
		t.Errorf("got\n%s", sc.text())
	}
}

// The screen goes on while the server cannot be reached, with what it knew.
func TestScreenSurvivesErrors(t *testing.T) {
	t.Parallel()
	s := &server{pools: reports}
	sc := newScreen(t, s, 80, 24)
	s.err = errors.New("no server answers at localhost:2019")
	sc.look()
	if got := sc.text(); !strings.Contains(got, "exports") || !strings.HasSuffix(got, "\nno server answers at localhost:2019") {
		t.Errorf("got\n%s", got)
	}
	s.err = nil
	sc.look()
	if got := sc.text(); strings.Contains(got, "no server") {
		t.Errorf("got\n%s", got)
	}
}

func TestScreenQuits(t *testing.T) {
	t.Parallel()
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"enter", "q"}, {"enter", "c", "ctrl+c"}} {
		if !newScreen(t, &server{pools: reports}, 80, 24).press(keys...) {
			t.Errorf("%v: it goes on", keys)
		}
	}
	if newScreen(t, &server{pools: reports}, 80, 24).press("x") {
		t.Error("any key quits")
	}
}

// A slow server gets one question at a time.
func TestScreenWaitsForASlowServer(t *testing.T) {
	t.Parallel()
	m := New(&server{}, time.Hour, View{})
	next, _ := m.Update(tick{})
	again, _ := next.Update(tick{})
	if got := again.(Model).pending; got != 1 {
		t.Errorf("%d questions", got)
	}
	answered, _ := again.Update(looked{View{}})
	if got := answered.(Model).pending; got != 0 {
		t.Errorf("%d questions", got)
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	before := View{now, []Pool{{Name: "a", Admitted: 10}, {Name: "reset", Admitted: 10}}}
	after := View{now.Add(2 * time.Second), []Pool{{Name: "a", Admitted: 15}, {Name: "reset", Admitted: 1}, {Name: "new"}}}
	for i, want := range []string{"2.5", "-", "-"} {
		if got := after.Rows(before)[i]; got.AdmittedRate.String() != want {
			t.Errorf("%s: %s, want %s", got.Name, got.AdmittedRate, want)
		}
	}
}

func TestBars(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		share float64
		want  int
	}{{0, 0}, {0.001, 1}, {0.5, 10}, {1, 20}} {
		if got := Bar(test.share, 20); len(got) != 20 || strings.Count(got, "#") != test.want {
			t.Errorf("%v is %s", test.share, got)
		}
	}
}

// The server is asked before the screen is entered, so that an error is an ordinary one.
func TestRunNeedsAServer(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	if err := Run(context.Background(), &server{err: away}, time.Second, nil); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
}
