package crashtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

// order is what a child does.
type order struct {
	Folder  string // of the store
	Sealed  bool   // the store is encrypted
	Journal string
	Boot    int
	// Keys are submitted first.
	Keys []int
	// Endless: further keys are submitted, until the child is killed or its input ends.
	// Otherwise it ends when all jobs have ended.
	Endless bool
	Poison  int
	// KillAt is when the child kills itself. The zero value: never.
	KillAt point
}

// maxWaiting is how many jobs wait until a child submits no more of them.
const maxWaiting = 100

// runChild opens the store and carries out an order.
func runChild(o order) error {
	j, err := openJournal(o.Journal, o.Boot)
	if err != nil {
		return err
	}
	ctx := context.Background()
	engine, err := openEngine(o.Folder, o.Sealed)
	if err != nil {
		return err
	}
	s, err := jobs.Open(ctx, &fuse{Engine: engine, at: o.KillAt}, jobs.Options{Deliver: j.deliver})
	if err != nil {
		return err
	}
	for _, name := range []string{"again", "once"} {
		s.Bind(name, &worker{journal: j, poison: o.Poison}, jobs.RouteLimits{Concurrency: perRoute})
	}
	c := &child{order: o, journal: j, service: s}
	for _, key := range o.Keys {
		_ = c.submit(ctx, key) // the journal has the error
	}
	fmt.Println("ready")
	if o.Endless {
		c.submitEndlessly(ctx)
		_, err := io.Copy(io.Discard, os.Stdin)
		return errors.Join(err, s.Close(ctx))
	}
	if !testkit.Poll(30*time.Second, c.idle) {
		return fmt.Errorf("jobs have not ended: %+v", s.Stats())
	}
	return s.Close(ctx)
}

// openEngine opens the engine that is tested, on a disk of any size.
func openEngine(folder string, sealed bool) (jobs.Engine, error) {
	o := bolt.Options{MinFree: -1}
	if sealed {
		o.Keys = []bolt.Key{{ID: "test", Secret: [32]byte{1}}}
	}
	return bolt.Open(folder, o)
}

// child carries out an order.
type child struct {
	order
	journal *journal
	service *jobs.Service
}

// waiting returns how many jobs wait, and how many run.
func (c *child) waiting() (waiting, running int) {
	for _, r := range c.service.Stats().Routes {
		waiting += r.Queued + r.RetryWait
		running += r.Running
	}
	return waiting, running
}

func (c *child) idle() bool {
	waiting, running := c.waiting()
	return waiting+running+c.service.Stats().HookBacklog == 0
}

// submitEndlessly submits from several goroutines.
func (c *child) submitEndlessly(ctx context.Context) {
	var last atomic.Int64
	last.Store(int64(c.Boot) * 1_000_000)
	for range 4 {
		go func() {
			for {
				if waiting, _ := c.waiting(); waiting > maxWaiting {
					testkit.Pause(time.Millisecond)
					continue
				}
				_ = c.submit(ctx, int(last.Add(1)))
			}
		}()
	}
}

func (c *child) submit(ctx context.Context, key int) error {
	c.journal.add(line{What: submitted, Key: key})
	a, err := c.accept(ctx, key)
	if err != nil {
		c.journal.add(line{What: rejected, Key: key, Note: err.Error()})
		return err
	}
	c.journal.add(line{What: accepted, Key: key, ID: a.View.ID})
	if cancels(key) {
		return c.cancel(ctx, key, a.View.ID)
	}
	return nil
}

func (c *child) cancel(ctx context.Context, key int, id jobs.ID) error {
	v, err := c.service.Cancel(ctx, id, "owner")
	switch {
	case errors.Is(err, jobs.ErrTerminal):
		return nil
	case err == nil && v.State == jobs.Cancelled:
		c.journal.add(line{What: cancelled, Key: key, ID: id})
	}
	return err
}

func (c *child) accept(ctx context.Context, key int) (jobs.Accepted, error) {
	w, err := c.service.NewBody(ctx)
	if err != nil {
		return jobs.Accepted{}, err
	}
	if _, err := w.Write(bodyOf(key)); err != nil {
		w.Discard()
		return jobs.Accepted{}, err
	}
	body, err := w.End()
	if err != nil {
		w.Discard()
		return jobs.Accepted{}, err
	}
	return c.service.Accept(ctx, submission(key, body))
}

// deliver plays the endpoint of webhooks.
func (j *journal) deliver(_ context.Context, m jobs.Message) jobs.Delivery {
	j.add(line{What: delivered, Key: keyOf(m.Record), ID: m.Record.ID, Note: m.ID})
	return jobs.Delivery{Delivered: true}
}

// killMyself ends the process as a fault of the code would, and does not return.
func killMyself() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {}
}
