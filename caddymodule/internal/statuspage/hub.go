package statuspage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Times and bounds of a hub.
const (
	interval   = time.Second
	maxViewers = 100
	// keepFor is how long the history stays without a viewer.
	keepFor = 15 * time.Minute
)

// errFull means that there are as many viewers as there may be.
var errFull = errors.New("too many viewers of the status page: at most 100 receive live numbers at a time; reload the page to see the numbers of this moment")

// Hub collects the numbers of a source for all viewers: once a second while there are any,
// and when a page is requested without them. It starts its goroutine with the first viewer
// and ends it with the last one. It is safe for concurrent use.
type Hub struct {
	source Source

	turn   sync.Mutex // held to collect
	frames *frames    // guarded by turn; nil without a history

	mu      sync.Mutex // guards the rest
	viewers int
	opened  map[view]int // viewers by what they look at
	frame   *frame       // the last one
	end     context.CancelFunc
	forget  *time.Timer // of the history
}

// NewHub returns a hub without viewers.
func NewHub(source Source) *Hub {
	return &Hub{source: source, opened: make(map[view]int), frame: &frame{replaced: make(chan struct{})}}
}

// enter adds a viewer of a page until leave is called, at most once.
func (h *Hub) enter(v view) (leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.viewers == maxViewers {
		return nil, errFull
	}
	h.viewers++
	h.opened[v]++
	if h.viewers == 1 {
		ctx, cancel := context.WithCancel(context.Background())
		h.end = cancel
		go h.collect(ctx)
	}
	return func() { h.leave(v) }, nil
}

func (h *Hub) leave(v view) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.viewers--
	if h.opened[v]--; h.opened[v] == 0 {
		delete(h.opened, v)
	}
	if h.viewers == 0 {
		h.end()
		h.forgetLater()
	}
}

// forgetLater drops the history after its time. It requires h.mu.
func (h *Hub) forgetLater() {
	if h.forget != nil {
		h.forget.Stop()
	}
	h.forget = time.AfterFunc(keepFor, h.forgetNow)
}

func (h *Hub) forgetNow() {
	h.turn.Lock()
	defer h.turn.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.viewers > 0 {
		return
	}
	h.frames, h.frame, h.forget = nil, &frame{replaced: make(chan struct{})}, nil
}

// collect makes one frame a second until the last viewer has left.
func (h *Hub) collect(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		h.refresh(ctx, view{}, interval/2)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look returns a frame, at most a second old, with the details of a view.
func (h *Hub) look(ctx context.Context, v view) *frame {
	f := h.refresh(ctx, v, interval)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.viewers == 0 {
		h.forgetLater()
	}
	return f
}

// refresh makes a new frame, unless the last one is younger than age and has the details
// of the view.
func (h *Hub) refresh(ctx context.Context, v view, age time.Duration) *frame {
	h.turn.Lock()
	defer h.turn.Unlock()
	last, opened := h.now()
	if last.moment != nil && time.Since(last.At) < age && last.has(v) || ctx.Err() != nil {
		return last
	}
	if !slices.Contains(opened, v) {
		opened = append(opened, v)
	}
	if h.frames == nil {
		h.frames = newFrames()
	}
	f := h.frames.collect(ctx, h.source, opened)
	if ctx.Err() != nil {
		return last // an error is that of the caller alone
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.frame.replaced)
	h.frame = f
	return f
}

// now returns the last frame, and the views of all viewers.
func (h *Hub) now() (last *frame, opened []view) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.opened {
		opened = append(opened, v)
	}
	slices.SortFunc(opened, func(a, b view) int { return cmp.Compare(a.pool, b.pool) })
	return h.frame, opened
}

// after returns the first frame with a higher number, or nil if ctx ends before.
func (h *Hub) after(ctx context.Context, number uint64) *frame {
	for {
		f, _ := h.now()
		if f.number > number {
			return f
		}
		select {
		case <-f.replaced:
		case <-ctx.Done():
			return nil
		}
	}
}
