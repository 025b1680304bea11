package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/examples/gpu/modelserver"
	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// Two goroutines of Caddy may be left: its admin endpoint ends with the process, and a lock
// of its storage seconds after its use.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/caddyserver/caddy/v2.replaceLocalAdminServer.func2"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
	)
}

// gate is the pace of a GPU that a test controls: a user's requests write tokens when the
// gate lets them.
type gate struct {
	mu    sync.Mutex
	users map[string]chan struct{} // guarded by mu
}

func (g *gate) of(user string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users[user] == nil {
		g.users[user] = make(chan struct{})
	}
	return g.users[user]
}

func (g *gate) pace(ctx context.Context, user string) {
	select {
	case <-g.of(user):
	case <-ctx.Done():
	}
}

// one lets one of the user's requests write one token.
func (g *gate) one(user string) { g.of(user) <- struct{}{} }

// open lets all requests of the users write all tokens, from now on.
func (g *gate) open(users ...string) {
	for _, user := range users {
		close(g.of(user))
	}
}

// example is the example as it runs.
type example struct {
	*scene
	gpu   *modelserver.GPU
	admin string
	gate  *gate
}

// start starts the example with a pace that the test controls.
func start(t *testing.T) *example {
	t.Helper()
	g := &gate{users: map[string]chan struct{}{}}
	e := startAt(t, modelserver.Options{Pace: g.pace})
	e.gate = g
	return e
}

// startAt starts the example on free ports until the test ends. Caddy has one configuration
// for the process, so these tests do not run in parallel.
func startAt(t *testing.T, o modelserver.Options) *example {
	t.Helper()
	var ports services.Ports
	t.Cleanup(func() { ports.Release() })
	for _, name := range []string{"OFFLOAD_ADDR", "OFFLOAD_ADMIN", "GPU_SMALL", "GPU_LARGE"} {
		addr, err := ports.Take()
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(name, addr)
	}
	home := caddy.DefaultStorage.Path
	caddy.DefaultStorage.Path = t.TempDir()
	e := &example{scene: newScene(base()), gpu: modelserver.New(o), admin: adminBase()}
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- run(ctx, e.gpu, func(context.Context) error {
			close(ready)
			return nil
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the example ended with %v", err)
		}
		caddy.DefaultStorage.Path = home
		e.client.CloseIdleConnections()
	})
	testkit.Receive(t, ready)
	return e
}

// begin sends a request in the background. The returned function waits for the answer and
// returns its status.
func (e *example) begin(t *testing.T, c call) (end func() (status int)) {
	t.Helper()
	status := make(chan int, 1)
	ctx, leave := context.WithCancel(context.Background())
	var under sync.WaitGroup
	under.Go(func() {
		res, err := e.send(ctx, c)
		if err != nil {
			status <- 0
			return
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			status <- 0
			return
		}
		status <- res.StatusCode
	})
	t.Cleanup(func() {
		leave()
		under.Wait()
	})
	return func() int {
		t.Helper()
		return testkit.Receive(t, status)
	}
}

// answer sends a request and returns the status of its answer.
func (e *example) answer(t *testing.T, c call) (status int) {
	t.Helper()
	return e.begin(t, c)()
}

// started waits until a user's requests have begun to run in the server.
func (e *example) started(t *testing.T, user string, n int) {
	t.Helper()
	testkit.Eventually(t, func() bool { return e.gpu.Stats().Users[user].Started == n })
}

// waiter is one waiter as the admin endpoint lists it.
type waiter struct {
	Key, Class string
	Cost       int
}

// waiting waits until a pool has n waiters.
func (e *example) waiting(t *testing.T, pool string, n int) []waiter {
	t.Helper()
	var list struct{ Requests []waiter }
	testkit.Eventually(t, func() bool {
		list.Requests = nil
		e.get(t, "/offload/pools/"+pool+"/waiting", &list)
		return len(list.Requests) == n
	})
	return list.Requests
}

// get asks the admin endpoint.
func (e *example) get(t *testing.T, path string, into any) {
	t.Helper()
	res, err := e.client.Get(e.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// neverTooMany fails the test if the server has ever had more requests than it can run.
func (e *example) neverTooMany(t *testing.T) {
	t.Helper()
	if s := e.gpu.Stats(); s.MostRunning > s.Parallel || s.Overloads > 0 {
		t.Errorf("the server had too many requests: %+v", s)
	}
}
