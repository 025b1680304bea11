package compare

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// play is one trial on its way through one site. Client and upstream wait for
// each other by it.
type play struct {
	trial *trial
	id    string

	mu       sync.Mutex
	changed  chan struct{} // closed with each change
	taken    int64         // bytes of the answer's body that the client has, -1 before the head
	informed int           // how many 1xx the client has
	sent     int64         // bytes of the request's body that the upstream has
	calls    []*call       // of the upstream
	running  int           // calls that have not returned
	notes    []string      // anything else that must not differ
	left     bool          // the client has given up
	vain     []string      // expected events that did not happen
}

// patience is the longest wait of one side for the other. Only failures reach it.
const patience = 10 * time.Second

var (
	plays  sync.Map // by id, as the upstream sees it in field X-Play
	lastID atomic.Int64
)

func newPlay(tr *trial) *play {
	p := &play{trial: tr, id: strconv.FormatInt(1e9+lastID.Add(1), 10), changed: make(chan struct{}), taken: -1}
	plays.Store(p.id, p)
	return p
}

type playKey struct{}

// playOf returns the play, for the upstream.
func playOf(ctx context.Context) *play { return ctx.Value(playKey{}).(*play) }

func (p *play) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// await waits until ok, which is called under the lock. In vain it fails the test.
func (p *play) await(what string, ok func() bool) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		done, changed := ok(), p.changed
		p.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			p.change(func() { p.vain = append(p.vain, what) })
			return
		}
	}
}

// clientHas waits until the client has n bytes of the body, 0: the head.
func (p *play) clientHas(n int64) {
	p.await(fmt.Sprintf("the client to get %d bytes", n), func() bool { return p.taken >= n })
}

// upstreamHas waits until the upstream has n bytes of the request's body.
func (p *play) upstreamHas(n int64) {
	p.await(fmt.Sprintf("the upstream to get %d bytes", n), func() bool { return len(p.calls) > 0 && p.sent >= n })
}

// clientLeft waits until the client has given up.
func (p *play) clientLeft() {
	p.await("the client to leave", func() bool { return p.left })
}

func (p *play) hasLeft() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

// upstreamDone waits until all calls of the upstream have returned. Those on the
// connection itself do so when the proxy has closed it.
func (p *play) upstreamDone() {
	p.await("the upstream to end", func() bool { return p.running == 0 })
}

// callsSoFar counts this one too.
func (p *play) callsSoFar() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// note adds a line to the record.
func (p *play) note(line string) { p.change(func() { p.notes = append(p.notes, line) }) }
