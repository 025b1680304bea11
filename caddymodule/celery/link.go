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

// links are the connections of all loaded configurations, by what their servers
// are set to. A configuration holds each of its links, and so does a request while
// it is under way: the last of them closes it.
var links = caddy.NewUsagePool()

// link is what leads to the workers behind one broker. It connects when the first
// request needs it: to validate a configuration connects to nobody.
type link struct {
	servers Servers
	ready   func() error // connects once

	broker  celery.Broker
	backend celery.Backend // nil for none
	clients map[celery.RevokePolicy]*celery.Client
	workers *celery.Workers

	outstanding atomic.Int64 // requests that wait for a result
	follow      func()       // starts to listen to heartbeats, once
	ctx         context.Context
	stop        context.CancelFunc
	followers   sync.WaitGroup  // end with stop
	ending      context.Context // ends when the process does
	end         context.CancelFunc

	mu        sync.Mutex
	connected bool // guarded by mu
}

// acquire returns the link to servers. The caller owes a call of release.
func acquire(s Servers) (l *link, release func(), err error) {
	key := s.key()
	v, _, err := links.LoadOrNew(key, func() (caddy.Destructor, error) { return newLink(s), nil })
	if err != nil {
		return nil, nil, err
	}
	return v.(*link), func() { _, _ = links.Delete(key) }, nil
}

func newLink(s Servers) *link {
	l := &link{servers: s}
	l.ready = sync.OnceValue(l.connect)
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.ending, l.end = context.WithCancel(context.Background())
	l.follow = sync.OnceFunc(func() {
		l.followers.Go(func() { l.workers.Follow(l.ctx) })
	})
	return l
}

// connect makes clients, which connect by themselves.
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
	connected.Add(1)
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

// connected counts the links that are not closed yet.
var connected sync.WaitGroup

// Times that closing may take.
const (
	closeTimeout = 5 * time.Second
	exitTimeout  = 2 * time.Second
)

// Destruct is called when neither a configuration nor a request holds the link.
func (l *link) Destruct() error {
	l.stop()
	l.end()
	go l.close() // who lets go of a link must not wait; exit does, as long as it can
	return nil
}

func init() { caddy.OnExit(exit) }

// exit ends the requests that have outlasted the grace period, so that their tasks
// are revoked, and waits for that.
func exit(context.Context) {
	links.Range(func(_, l any) bool {
		l.(*link).end()
		return true
	})
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		connected.Wait()
	}()
	select {
	case <-closed:
	case <-time.After(exitTimeout):
	}
}

// close sends what is to be revoked, and closes all connections.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers.Wait()
	if !l.connected {
		return
	}
	defer connected.Done()
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

// take counts one more request that waits, if there may be so many.
func (l *link) take(may func(n int) bool) bool {
	for {
		n := l.outstanding.Load()
		if !may(int(n) + 1) {
			return false
		}
		if l.outstanding.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (l *link) giveBack() { l.outstanding.Add(-1) }
