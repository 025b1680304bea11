package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/proc"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
)

const (
	tailClients = 100
	tick        = 20 * time.Millisecond
	// written is what the upstream has sent before slow readers come.
	written = 32 << 20
)

// tails measures clients that follow the result of a job while it is made.
func (b *bench) tails(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	upstream, err := serve(ctx, http.HandlerFunc(b.writeSlowly))
	if err != nil {
		return err
	}
	c, err := b.start(ctx, upstream)
	if err != nil {
		return err
	}
	base := "http://" + c.addrs["jobs"]
	delay, err := b.tailDelay(ctx, base)
	if err != nil {
		return errors.Join(err, c.stop())
	}
	each, err := c.tailMemory(ctx, base)
	if err != nil {
		return errors.Join(err, c.stop())
	}
	b.printf("\nClients that follow a result while it is made: %d of them.\n\n", tailClients)
	b.aim("delay of a line at p99, in milliseconds", delay, "<= 50", delay <= 50)
	b.aim("memory of a client that does not read, in KiB", each, "<= 256", each <= 256)
	return c.stop()
}

// writeSlowly writes the time every now and then; or many bytes at once, and no end.
func (b *bench) writeSlowly(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if r.URL.Path == "/large" {
		_, _ = w.Write(make([]byte, written))
		_ = control.Flush()
		<-r.Context().Done()
		return
	}
	for began := time.Now(); time.Since(began) < b.length; time.Sleep(tick) {
		_, _ = fmt.Fprintln(w, time.Now().UnixMicro())
		_ = control.Flush()
	}
}

// tailDelay returns how late a client reads a line, at p99, in milliseconds.
func (b *bench) tailDelay(ctx context.Context, base string) (float64, error) {
	var all []float64
	var mu sync.Mutex
	err := follow(ctx, base, "/lines", func(body io.Reader) error {
		var mine []float64
		for lines := bufio.NewScanner(body); lines.Scan(); {
			sent, err := strconv.ParseInt(lines.Text(), 10, 64)
			if err != nil {
				return fmt.Errorf("reading a line: %w", err)
			}
			mine = append(mine, float64(time.Since(time.UnixMicro(sent)).Microseconds())/1000)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, mine[min(1, len(mine)):]...) // the first line is older than the clients
		return nil
	})
	return stat.Quantile(all, 0.99), err
}

// tailMemory returns what a client that does not read takes of Caddy's memory, in KiB.
func (c *caddy) tailMemory(ctx context.Context, base string) (float64, error) {
	var connected sync.WaitGroup
	connected.Add(tailClients)
	var once sync.Once
	after := make(chan int64, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	before, err := c.memory()
	if err != nil {
		return 0, err
	}
	err = follow(ctx, base, "/large", func(body io.Reader) error {
		if _, err := io.ReadFull(body, make([]byte, kibibyte)); err != nil {
			return fmt.Errorf("reading a large result: %w", err)
		}
		connected.Done()
		connected.Wait()
		once.Do(func() {
			time.Sleep(time.Second) // until all buffers are full
			n, err := c.memory()
			if err != nil {
				n = 0
			}
			after <- n
		})
		return nil
	})
	if err != nil {
		return 0, err
	}
	return float64(<-after-before) / tailClients / kibibyte, nil
}

// memory returns the resident memory of Caddy in bytes.
func (c *caddy) memory() (int64, error) { return proc.RSS([]int{c.process.Process.Pid}) }

// follow submits a job, and lets clients read its result while it is made.
func follow(ctx context.Context, base, path string, read func(io.Reader) error) error {
	location, err := submit(ctx, base, path)
	if err != nil {
		return err
	}
	errs := make([]error, tailClients)
	var clients sync.WaitGroup
	for i := range errs {
		clients.Go(func() {
			res, err := ask(ctx, http.MethodGet, location+"/result", "wait=10") // for its first byte
			if err != nil {
				errs[i] = err
				return
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK {
				errs[i] = fmt.Errorf("following a result: status %d", res.StatusCode)
				return
			}
			errs[i] = read(res.Body)
		})
	}
	clients.Wait()
	return errors.Join(errs...)
}
