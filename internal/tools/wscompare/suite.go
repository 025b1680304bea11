package main

import (
	"context"
	"net/http"
	"path/filepath"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

// left lists the groups of cases that are not run: those that measure speed, and those of
// compression, which are many and large.
var left = []string{"9.*", "12.*", "13.*"}

// suite has fronts in the clear: a plain one, and one for each value of upgrades.
func suite() conformance.Suite {
	return conformance.Suite{
		Fronts: []conformance.Front{
			{Name: "plain"},
			{Name: "offload", Offload: "offload"},
			{Name: "offload that holds permits", Offload: "offload {\nupgrades hold\n}"},
		},
		Upstream:  http.HandlerFunc(echo),
		Check:     check,
		Arguments: arguments,
		Parse:     parse,
	}
}

// check opens a WebSocket.
func check(ctx context.Context, f conformance.Front) (pool string, err error) {
	c, res, err := websocket.Dial(ctx, "ws://"+f.Addr, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.CloseNow() }() // it may be closed already
	return res.Header.Get("X-Pool"), nil
}

// arguments returns those of kosoku, which plays four cases at a time, and the name of the
// report that kosoku writes.
func arguments(f conformance.Front, dir string) (args []string, report string) {
	args = []string{f.Addr, "--outdir", dir, "--parallelism", "4"}
	for _, group := range left {
		args = append(args, "--exclude", group)
	}
	return args, filepath.Join(dir, "index.json")
}

// echo is the upstream. Its library does not check that a text is valid UTF-8,
// which some cases require.
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
			_ = c.Close(websocket.StatusInvalidFramePayloadData, "") // it closes the open connections
			return
		}
		if c.Write(r.Context(), kind, text) != nil {
			return
		}
	}
}
