// Command library uses package offloader without HTTP: a converter of documents that
// can work on four at once gets more, fails for a while, and is shut down in order.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func main() {
	documents := flag.Int("documents", 60, "documents that arrive at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *documents); err != nil {
		log.Fatal(err)
	}
}

// run plays all scenes and writes their results.
func run(ctx context.Context, out io.Writer, documents int) error {
	say := log.New(out, "", 0).Printf // it has a lock
	m := &machine{took: 100 * time.Millisecond}
	c, err := newConverter(m, say)
	if err != nil {
		return err
	}
	say("%d documents arrive at once:", documents)
	c.convertAll(ctx, documents)
	say("  %d converted, %d at once at most", m.converted(), m.peak())

	say("50 documents are damaged, which is no fault of the machine:")
	for range 50 {
		err = c.convert(ctx, "damaged")
	}
	say("  %v; the breaker is %s", err, c.pool.Snapshot().Breaker)

	say("the machine breaks:")
	m.setBroken(true)
	for c.pool.Snapshot().Breaker == offloader.StateClosed {
		if err = c.convert(ctx, "document"); ctx.Err() != nil {
			return err
		}
	}
	say("  now without the machine: %v", c.convert(ctx, "document"))

	say("the machine is repaired:")
	m.setBroken(false)
	select {
	case <-time.After(coolDown + time.Second):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := c.convert(ctx, "document"); err != nil {
		return err
	}
	c.convertAll(ctx, 20)
	say("  %d converted", m.converted())

	say("the program ends:")
	return c.close(ctx)
}

// convertAll converts that many documents, all at once.
func (c *converter) convertAll(ctx context.Context, documents int) {
	var all sync.WaitGroup
	for range documents {
		all.Go(func() {
			if err := c.convert(ctx, "document"); err != nil {
				c.say("  %v", err)
			}
		})
	}
	all.Wait()
}
