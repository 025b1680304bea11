package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/examples/gpu/modelserver"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// short is a request of one token, long one that lasts until its client leaves or the test
// opens the gate.
func short(user string) call { return call{user: user, model: "small", tokens: 1} }

func long(user string) call {
	return call{user: user, model: "small", stream: true, tokens: 1000}
}

func TestAGreedyUserGetsItsCapAndAModestOneIsServed(t *testing.T) {
	e := start(t)
	e.gate.open("ben")
	for range 20 {
		e.begin(t, long("anna"))
	}
	e.started(t, "anna", 2)
	e.waiting(t, "gpu", 18)
	for range 5 {
		if status := e.answer(t, short("ben")); status != http.StatusOK {
			t.Errorf("the modest user got %d", status)
		}
	}
	if got := e.gpu.Stats().Users["anna"]; got.Started != 2 || got.Served != 0 {
		t.Errorf("the greedy user got %+v, want two requests that run", got)
	}
	for range 2 {
		e.begin(t, long("anna"))
	}
	e.waiting(t, "gpu", 20)
	if status := e.answer(t, long("anna")); status != http.StatusServiceUnavailable {
		t.Errorf("the request after the last place of its user got %d", status)
	}
	e.neverTooMany(t)
}

func TestThePermitsComeToUsersInTurn(t *testing.T) {
	e := start(t)
	for _, holder := range []string{"carl", "carl", "nightly", "nightly"} {
		e.begin(t, short(holder))
	}
	e.started(t, "carl", 2)
	e.started(t, "nightly", 2)
	for range 6 {
		e.begin(t, long("anna"))
	}
	e.waiting(t, "gpu", 6)
	e.begin(t, long("ben"))
	e.waiting(t, "gpu", 7)
	e.gate.one("carl")
	e.waiting(t, "gpu", 6)
	e.gate.one("carl")
	// The modest user is next, although it came last.
	e.started(t, "anna", 1)
	e.started(t, "ben", 1)
	e.neverTooMany(t)
}

func TestALongAnswerTakesSeveralPermits(t *testing.T) {
	e := start(t)
	e.gate.open("ben")
	large := long("anna")
	large.tokens = 3000
	end := e.begin(t, large)
	e.started(t, "anna", 1)
	if status := e.answer(t, short("ben")); status != http.StatusOK {
		t.Errorf("the request for the fourth permit got %d", status)
	}
	answer := call{user: "ben", model: "small", tokens: 1500}
	other := e.begin(t, answer)
	if got := e.waiting(t, "gpu", 1)[0]; got != (waiter{Key: "ben", Class: "interactive", Cost: 2}) {
		t.Errorf("waiting: %+v", got)
	}
	if running := e.gpu.Stats().Running; running != 1 {
		t.Errorf("%d requests run, want the one with 3 of 4 permits", running)
	}
	e.gate.open("anna")
	if first, second := end(), other(); first != http.StatusOK || second != http.StatusOK {
		t.Errorf("the large request got %d, the next one %d", first, second)
	}
	e.neverTooMany(t)
}

func TestTheLargeModelHasACap(t *testing.T) {
	e := start(t)
	e.gate.open("nightly")
	for _, user := range []string{"anna", "ben"} {
		one := long(user)
		one.model = "large"
		e.begin(t, one)
		e.started(t, user, 1)
	}
	third := long("carl")
	third.model = "large"
	e.begin(t, third)
	e.waiting(t, "large", 1)
	if status := e.answer(t, short("nightly")); status != http.StatusOK {
		t.Errorf("the small model answers %d", status)
	}
	if got := e.gpu.Stats().Users["carl"].Started; got != 0 {
		t.Errorf("%d requests above the cap run", got)
	}
	e.neverTooMany(t)
}

// A client of each kind leaves: one in the middle of its stream, one that waits for a whole
// answer, and one in the queue.
func TestClientsThatLeaveFreeTheirPlaces(t *testing.T) {
	e := start(t)
	ctx, leave := context.WithCancel(t.Context())
	whole := long("ben")
	whole.stream = false
	for _, c := range []call{long("anna"), long("anna"), whole, whole} {
		testkit.Receive(t, e.leaver(ctx, c))
	}
	e.started(t, "anna", 2)
	e.started(t, "ben", 2)
	testkit.Receive(t, e.leaver(ctx, long("anna")))
	e.waiting(t, "gpu", 1)
	e.gate.open("carl")
	next := e.begin(t, short("carl"))
	e.waiting(t, "gpu", 2)
	leave()
	if status := next(); status != http.StatusOK {
		t.Errorf("the next request got %d", status)
	}
	testkit.Eventually(t, func() bool {
		users := e.gpu.Stats().Users
		return users["anna"].Left == 2 && users["ben"].Left == 2
	})
	if got := e.gpu.Stats(); got.Users["anna"].Started != 2 || got.Running != 0 {
		t.Errorf("%+v, want nothing of the waiter that left", got)
	}
	e.neverTooMany(t)
}

// leaver sends a request whose client leaves with ctx.
func (e *example) leaver(ctx context.Context, c call) (sent <-chan struct{}) {
	begun := make(chan struct{})
	go func() {
		close(begun)
		if res, err := e.send(ctx, c); err == nil {
			<-ctx.Done()
			res.Body.Close()
		}
	}()
	return begun
}

func TestUsersCanOnlyLowerTheirClass(t *testing.T) {
	e := start(t)
	for _, holder := range []string{"anna", "anna", "ben", "ben"} {
		e.begin(t, long(holder))
	}
	e.started(t, "anna", 2)
	e.started(t, "ben", 2)
	lowered, raised := short("carl"), short("nightly")
	lowered.class, raised.class = "batch", "interactive"
	e.begin(t, lowered)
	e.begin(t, raised)
	for _, w := range e.waiting(t, "gpu", 2) {
		if w.Class != "batch" {
			t.Errorf("%s waits as %s", w.Key, w.Class)
		}
	}
	e.begin(t, short("carl"))
	urgent := waiter{Key: "carl", Class: "interactive", Cost: 1}
	if all := e.waiting(t, "gpu", 3); !slices.Contains(all, urgent) {
		t.Errorf("%+v, want %+v among them", all, urgent)
	}
}

func TestAMixOfAllUsersNeverOverloadsTheServer(t *testing.T) {
	e := start(t)
	users := []string{"anna", "ben", "carl", "nightly"}
	e.gate.open(users...)
	var ends []func() int
	for i := range 80 {
		c := call{user: users[i%4], model: "small", tokens: 1 + 900*(i%5)} // 1 to 4 permits
		if i%3 == 0 {
			c.stream, c.tokens = true, 20
		}
		if i%7 == 0 {
			c.model = "large"
		}
		ends = append(ends, e.begin(t, c))
	}
	for _, end := range ends {
		if status := end(); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	e.neverTooMany(t)
}

func TestUnknownKeysAndPathsAreRejected(t *testing.T) {
	e := start(t)
	if status := e.answer(t, short("unknown")); status != http.StatusUnauthorized {
		t.Errorf("an unknown key got %d", status)
	}
	wrong := short("anna")
	wrong.model = "medium"
	if status := e.answer(t, wrong); status != http.StatusNotFound {
		t.Errorf("an unknown model got %d", status)
	}
	if got := e.gpu.Stats(); len(got.Users) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestTheSceneServesBothUsers(t *testing.T) {
	e := start(t)
	e.gate.open(greedy, modest)
	var out strings.Builder
	if err := show(t.Context(), &out, e.gpu); err != nil {
		t.Fatal(err)
	}
	want := map[string]modelserver.Usage{
		greedy: {Started: 20, Served: 20, Tokens: 20 * tokens},
		modest: {Started: 5, Served: 5, Tokens: 5 * tokens},
	}
	for user, usage := range want {
		if got := e.gpu.Stats().Users[user]; got != usage {
			t.Errorf("%s got %+v, want %+v", user, got, usage)
		}
	}
	for _, line := range []string{"curl -N " + e.base, "anna            20         0", "ben              5         0", "rejected by it: 0"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is missing in\n%s", line, out.String())
		}
	}
	e.neverTooMany(t)
}
