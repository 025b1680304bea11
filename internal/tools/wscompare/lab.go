package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

// front is one site of the Caddy under test, in the clear.
type front struct {
	name    string
	addr    string
	offload string // its directive, empty for the plain one, which is the first
}

// lab is a running Caddy with all fronts before one upstream.
type lab struct {
	fronts   []front
	upstream net.Listener
	caddy    *conformance.Caddy
}

// newLab returns when every front answers. The caller closes it.
func newLab(ctx context.Context, caddy string) (*lab, error) {
	l := &lab{fronts: []front{
		{name: "plain"},
		{name: "offload", offload: "offload"},
		{name: "offload that holds permits", offload: "offload {\n\t\tupgrades hold\n\t}"},
	}}
	if err := l.start(ctx, caddy); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) start(ctx context.Context, caddy string) (err error) {
	for i := range l.fronts {
		if l.fronts[i].addr, err = conformance.FreeAddr(); err != nil {
			return err
		}
	}
	if l.upstream, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for the upstream: %w", err)
	}
	go func() { _ = http.Serve(l.upstream, http.HandlerFunc(echo)) }() // until it is closed
	if l.caddy, err = conformance.Start(caddy, l.config()); err != nil {
		return err
	}
	return l.await(ctx)
}

// config is the Caddyfile. Its field that tells whether a request has passed a pool
// makes sure that the right things are compared.
func (l *lab) config() string {
	var b strings.Builder
	b.WriteString("{\n\tadmin off\n\tpersist_config off\n\tlog {\n\t\tlevel PANIC\n\t}\n}\n")
	for _, f := range l.fronts {
		fmt.Fprintf(&b, "http://%s {\n\t%s\n\theader >X-Pool {http.offload.pool}\n\treverse_proxy %s\n}\n", f.addr, f.offload, l.upstream.Addr())
	}
	return b.String()
}

func (l *lab) close() {
	if l.caddy != nil {
		l.caddy.Close()
	}
	if l.upstream != nil {
		l.upstream.Close()
	}
}

// await returns when every front answers as it should.
func (l *lab) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, f := range l.fronts {
		for err := f.check(ctx); err != nil; err = f.check(ctx) {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("%s does not work: %w", f.name, err)
			}
		}
	}
	return nil
}

// check opens a WebSocket and looks whether a pool was passed.
func (f front) check(ctx context.Context) error {
	c, res, err := websocket.Dial(ctx, "ws://"+f.addr, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseNow() }()                         // it may be closed already
	passed := !strings.HasPrefix(res.Header.Get("X-Pool"), "{") // nobody knew what to put there
	if passed != (f.offload != "") {
		return errors.New("unexpected pool: " + res.Header.Get("X-Pool"))
	}
	return nil
}

// echo is the upstream. Its library does not look whether a text is one, which
// some cases want.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }() // it may be closed already
	c.SetReadLimit(-1)
	for {
		kind, text, err := c.Read(r.Context())
		switch {
		case err != nil:
			return
		case kind == websocket.MessageText && !utf8.Valid(text):
			_ = c.Close(websocket.StatusInvalidFramePayloadData, "") // it closes what is open
			return
		}
		if c.Write(r.Context(), kind, text) != nil {
			return
		}
	}
}
