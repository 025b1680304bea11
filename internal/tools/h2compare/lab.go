package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

// lab is a running Caddy with all fronts before one upstream.
type lab struct {
	fronts   []front
	upstream net.Listener
	caddy    *conformance.Caddy
}

// newLab returns when every front answers. The caller closes it.
func newLab(ctx context.Context, caddy string) (*lab, error) {
	l := new(lab)
	if err := l.start(ctx, caddy); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) start(ctx context.Context, caddy string) (err error) {
	if l.fronts, err = plan(); err != nil {
		return err
	}
	if l.upstream, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for the upstream: %w", err)
	}
	go func() { _ = http.Serve(l.upstream, http.HandlerFunc(answer)) }() // until it is closed
	if l.caddy, err = conformance.Start(caddy, config(l.fronts, l.upstream.Addr().String())); err != nil {
		return err
	}
	return awaitAll(ctx, l.fronts)
}

func (l *lab) close() {
	if l.caddy != nil {
		l.caddy.Close()
	}
	if l.upstream != nil {
		l.upstream.Close()
	}
}

// awaitAll returns when every front answers as it should.
func awaitAll(ctx context.Context, fronts []front) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, f := range fronts {
		if err := f.await(ctx); err != nil {
			return fmt.Errorf("%s does not work: %w", f.name, err)
		}
	}
	return nil
}

// answer is the upstream's. It is long enough for the cases that look at flow
// control.
func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // a broken body is the case that is played
	_, _ = io.WriteString(w, strings.Repeat("conformance\n", 100))
}
