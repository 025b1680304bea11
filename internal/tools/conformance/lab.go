package conformance

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// lab is a running Caddy with all fronts, and their upstream.
type lab struct {
	upstream net.Listener
	caddy    *Caddy
}

// newLab assigns addresses to the fronts and returns when all of them answer. The
// caller closes it.
func (s Suite) newLab(ctx context.Context, caddy string) (*lab, error) {
	l := new(lab)
	if err := l.start(ctx, s, caddy); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) start(ctx context.Context, s Suite, caddy string) (err error) {
	for i := range s.Fronts {
		if s.Fronts[i].Addr, err = FreeAddr(); err != nil {
			return err
		}
	}
	if l.upstream, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for the upstream: %w", err)
	}
	go func() { _ = http.Serve(l.upstream, s.Upstream) }() // until it is closed
	if l.caddy, err = Start(caddy, s.config(l.upstream.Addr().String())); err != nil {
		return err
	}
	return s.await(ctx)
}

func (l *lab) close() {
	if l.caddy != nil {
		l.caddy.Close()
	}
	if l.upstream != nil {
		l.upstream.Close()
	}
}

// config returns the Caddyfile. The field X-Pool shows whether a request has
// passed a pool, so that each front is the intended one.
func (s Suite) config(upstream string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{\nadmin off\npersist_config off\nlog {\nlevel PANIC\n}\n%s}\n", s.Options)
	for _, f := range s.Fronts {
		fmt.Fprintf(&b, "%s://%s {\n%s\nheader >X-Pool {http.offload.pool}\nreverse_proxy %s\n}\n",
			f.Scheme(), f.Addr, f.Offload, upstream)
	}
	return b.String()
}

// await returns when every front answers correctly.
func (s Suite) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, f := range s.Fronts {
		for err := s.check(ctx, f); err != nil; err = s.check(ctx, f) {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("%s does not work: %w", f.Name, err)
			}
		}
	}
	return nil
}

func (s Suite) check(ctx context.Context, f Front) error {
	pool, err := s.Check(ctx, f)
	if err != nil {
		return err
	}
	passed := !strings.HasPrefix(pool, "{") // a placeholder without a value stays as it is written
	if passed != (f.Offload != "") {
		return fmt.Errorf("unexpected pool '%s'", pool)
	}
	return nil
}
