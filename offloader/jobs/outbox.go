package jobs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// hooksPerHost is how many messages are sent to a host at a time.
const hooksPerHost = 4

// outbox sends the messages of webhooks at their times.
type outbox struct {
	*ledger
	ctx  context.Context
	stop context.CancelFunc
	runs sync.WaitGroup

	mu     sync.Mutex
	closed bool
	// sending has the jobs whose messages wait or are sent, and whether they were asked for again
	// meanwhile: the message that is sent may be of the generation before.
	sending map[*entry]bool
	hosts   map[string]*hookHost
}

// hookHost is a host to which messages are sent.
type hookHost struct {
	busy  int
	waits []*entry
}

func newOutbox(l *ledger) *outbox {
	o := &outbox{ledger: l, sending: map[*entry]bool{}, hosts: map[string]*hookHost{}}
	o.ctx, o.stop = context.WithCancel(context.Background())
	return o
}

// send sends the message of a job, as soon as its host has room.
func (o *outbox) send(e *entry) {
	o.book.mu.Lock()
	name := e.hookHost
	o.book.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if _, is := o.sending[e]; is {
		o.sending[e] = true
		return
	}
	o.sending[e] = false
	h := o.hosts[name]
	if h == nil {
		h = &hookHost{}
		o.hosts[name] = h
	}
	h.waits = append(h.waits, e)
	if h.busy < hooksPerHost {
		h.busy++
		o.runs.Go(func() { o.run(name, h) })
	}
}

// run sends the messages of a host one after the other.
func (o *outbox) run(name string, h *hookHost) {
	for {
		o.mu.Lock()
		if len(h.waits) == 0 || o.closed {
			if h.busy--; h.busy == 0 {
				delete(o.hosts, name)
			}
			o.mu.Unlock()
			return
		}
		e := h.waits[0]
		h.waits = h.waits[1:]
		o.mu.Unlock()
		later := o.try(e)
		o.mu.Lock()
		asked := o.sending[e]
		delete(o.sending, e)
		o.mu.Unlock()
		switch {
		case later:
			o.doubt(e)
		case asked:
			o.refresh(e)
		}
	}
}

// try sends a message once, and stores how that has ended. It reports whether it has to be
// called again later because nothing was stored.
func (o *outbox) try(e *entry) (later bool) {
	r, err := o.engine.Get(o.ctx, e.id)
	if err != nil {
		return true
	}
	if !r.hookPending() || o.early(e, r) {
		o.refresh(e)
		return false
	}
	options := o.options.Load()
	if options.Deliver == nil {
		return true
	}
	message, err := o.message(r)
	if err != nil {
		return true
	}
	d := options.deliver(o.ctx, message)
	if o.ctx.Err() != nil && !d.Delivered {
		return false // it is tried when the service opens again
	}
	stored, err := o.change(context.WithoutCancel(o.ctx), e, nil, func(r *Record, now time.Time) error {
		if !r.hookPending() || r.Generation != message.Record.Generation {
			return ErrNotNow
		}
		r.delivered(now, d)
		return nil
	})
	if err == nil {
		options.Observer.Delivered(stored, d)
	}
	return err != nil
}

// early reports whether the time of the next try is still to come, also of one that was stored
// meanwhile.
func (o *outbox) early(e *entry, r *Record) bool {
	return r.Hook.Next.After(wallTime()) && (o.differs(e, r) || o.book.early(e, wallTime()))
}

// message makes the message of a job.
func (o *outbox) message(r *Record) (Message, error) {
	m := Message{
		ID:     fmt.Sprintf("%s.%d", r.ID, r.Generation),
		Record: r,
		Try:    r.Hook.Tries + 1,
	}
	p := r.Response
	if !r.Hook.WithResult || p == nil || !p.Complete || p.Size > InlineBytes {
		return m, nil
	}
	result, err := o.engine.Result(o.ctx, r)
	if err != nil {
		return m, err
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(io.NewSectionReader(result, 0, p.Size))
	m.Result = b.Bytes()
	if e := result.Close(); err == nil {
		err = e
	}
	return m, err
}

// close ends the tries. Those that run are tried when the service opens again.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.stop()
	o.runs.Wait()
}
