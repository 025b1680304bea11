package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// lab is a running Caddy with all fronts before one upstream.
type lab struct {
	fronts   []front
	home     string
	upstream net.Listener
	caddy    *exec.Cmd
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
	if l.home, err = os.MkdirTemp("", "h2compare-"); err != nil {
		return fmt.Errorf("make a home: %w", err)
	}
	if l.upstream, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for the upstream: %w", err)
	}
	go func() { _ = http.Serve(l.upstream, http.HandlerFunc(answer)) }() // until it is closed
	if err := l.run(caddy); err != nil {
		return err
	}
	return awaitAll(ctx, l.fronts)
}

// run starts Caddy with folders of its own.
func (l *lab) run(caddy string) error {
	file := filepath.Join(l.home, "Caddyfile")
	if err := os.WriteFile(file, []byte(config(l.fronts, l.upstream.Addr().String())), 0o600); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	cmd := exec.Command(caddy, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+l.home, "XDG_DATA_HOME="+l.home, "XDG_CONFIG_HOME="+l.home)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Caddy: %w", err)
	}
	l.caddy = cmd
	return nil
}

func (l *lab) close() {
	if l.caddy != nil {
		_ = l.caddy.Process.Kill() // then Wait says that it was killed
		_ = l.caddy.Wait()
	}
	if l.upstream != nil {
		l.upstream.Close()
	}
	os.RemoveAll(l.home)
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
