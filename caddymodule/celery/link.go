package celery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// linkTable holds the links of the process.
type linkTable struct {
	// all are the links of all loaded configurations, by the JSON of their servers.
	// Configurations and running requests hold links; the last holder's release closes a
	// link.
	all       *caddy.UsagePool
	connected sync.WaitGroup // counts the open links, for exit
}

func newLinkTable() *linkTable { return &linkTable{all: caddy.NewUsagePool()} }

// links are the links of the process. Links outlive configurations, and Caddy makes the
// handlers of each, so they find their links here.
var links = newLinkTable()

func init() { caddy.OnExit(links.exit) }

// link holds the clients of one broker and backend. It connects at the first request, since
// the validation of a configuration must not connect.
type link struct {
	table   *linkTable
	servers Servers
	ready   func() error // opens the clients, once

	broker  celery.Broker
	backend celery.Backend // nil for none
	clients map[celery.RevokePolicy]*celery.Client
	workers *celery.Workers

	outstanding atomic.Int64 // requests that wait for a result
	follow      func()       // starts to receive heartbeats, once
	ctx         context.Context
	stop        context.CancelFunc // cancels ctx
	followers   sync.WaitGroup     // goroutines that end with ctx
	ending      context.Context    // of requests; canceled at the end of the process
	end         context.CancelFunc // cancels ending

	mu        sync.Mutex
	connected bool // guarded by mu
}

// acquire returns the link to servers. The caller must call release.
func (t *linkTable) acquire(s Servers) (l *link, release func(), err error) {
	key := s.key()
	v, _, err := t.all.LoadOrNew(key, func() (caddy.Destructor, error) { return newLink(t, s), nil })
	if err != nil {
		return nil, nil, err
	}
	return v.(*link), func() { _, _ = t.all.Delete(key) }, nil
}

func newLink(t *linkTable, s Servers) *link {
	l := &link{table: t, servers: s}
	l.ready = sync.OnceValue(l.connect)
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.ending, l.end = context.WithCancel(context.Background())
	l.follow = sync.OnceFunc(func() {
		l.followers.Go(func() { l.workers.Follow(l.ctx) })
	})
	return l
}

// connect opens the clients, which dial in the background.
func (l *link) connect() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	scheme, err := schemeOf(l.servers.Broker)
	if err != nil {
		return err
	}
	if l.broker, err = scheme.broker(&l.servers); err != nil {
		return fmt.Errorf("opening the broker: %w", err)
	}
	l.connected = true
	l.table.connected.Add(1)
	switch {
	case l.servers.Backend == rpc:
		l.backend, err = scheme.replies(&l.servers)
	case l.servers.Backend != "":
		if scheme, err = schemeOf(l.servers.Backend); err == nil {
			l.backend, err = scheme.backend(&l.servers)
		}
	}
	if err != nil {
		return fmt.Errorf("opening the backend: %w", err)
	}
	l.workers = celery.NewWorkers(l.broker)
	l.clients = make(map[celery.RevokePolicy]*celery.Client)
	for _, policy := range []celery.RevokePolicy{celery.RevokeOff, celery.RevokeOn, celery.RevokeTerminate} {
		l.clients[policy] = celery.NewClient(l.broker, l.backend, celery.Settings{Revoke: policy})
	}
	return nil
}

// Time limits of closing.
const (
	closeTimeout = 5 * time.Second
	exitTimeout  = 2 * time.Second
)

// Destruct closes the link after its last release. It implements [caddy.Destructor].
func (l *link) Destruct() error {
	l.stop()
	l.end()
	go l.close() // release must not block; exit waits for the end, up to exitTimeout
	return nil
}

// exit cancels the requests that are left after the grace period, which revokes their tasks,
// and waits for the links to close.
func (t *linkTable) exit(context.Context) {
	t.all.Range(func(_, l any) bool {
		l.(*link).end()
		return true
	})
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		t.connected.Wait()
	}()
	select {
	case <-closed:
	case <-time.After(exitTimeout):
	}
}

// close sends pending revokes and closes all connections.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers.Wait()
	if !l.connected {
		return
	}
	defer l.table.connected.Done()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	for _, client := range l.clients {
		errs = append(errs, client.Close(ctx))
	}
	if l.workers != nil {
		l.workers.Close()
	}
	for _, server := range []any{l.backend, l.broker} {
		if closer, ok := server.(io.Closer); ok {
			errs = append(errs, closer.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		logClosing(err)
	}
}

// take counts one more waiting request if allowed returns true for the new count. The caller
// must then call giveBack.
func (l *link) take(allowed func(n int) bool) bool {
	for {
		n := l.outstanding.Load()
		if !allowed(int(n) + 1) {
			return false
		}
		if l.outstanding.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// giveBack ends a wait that take has counted.
func (l *link) giveBack() { l.outstanding.Add(-1) }
