// Package modelserver is a stand-in for an OpenAI-compatible server of language models
// (llama-server, vLLM) on one GPU. It writes the same text every time, at the pace of a
// model.
//
//	POST /v1/chat/completions   messages, as one answer or as server-sent events
//	POST /v1/completions        the same for a prompt
//	GET  /v1/models             the model of this address
//	GET  /stats                 figures as JSON, of the whole GPU
//
// An answer has max_tokens tokens, 128 without that field. At most Options.Parallel
// requests run at once, of all models together; the next one gets a 503, as from a server
// that is overloaded. A request whose client leaves ends with its current token.
package modelserver

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/examples/internal/serve"
)

// defaultPace is the time of one token: 50 tokens a second.
const defaultPace = 20 * time.Millisecond

// Options are the settings of a GPU. The zero value means the defaults.
type Options struct {
	// Parallel is the number of requests that run at once. Default 4.
	Parallel int
	// Pace blocks for the time of one token of a user's request, or until the context
	// ends. Default: 20 ms.
	Pace func(ctx context.Context, user string)
}

// GPU runs the requests of all models that it has.
type GPU struct {
	options Options
	figures figures
	quit    chan struct{} // closed by Serve
}

// New returns a GPU.
func New(o Options) *GPU {
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.Pace == nil {
		o.Pace = steady
	}
	return &GPU{options: o, figures: newFigures(o.Parallel), quit: make(chan struct{})}
}

// steady is the default pace.
func steady(ctx context.Context, _ string) {
	t := time.NewTimer(defaultPace)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Stats returns the figures.
func (g *GPU) Stats() Stats { return g.figures.snapshot() }

// Model returns the server of one model. Servers of this kind have one address for each
// model, and reject requests for another one.
func (g *GPU) Model(name string) http.Handler {
	m := &model{gpu: g, name: name}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", m.chat)
	mux.HandleFunc("POST /v1/completions", m.complete)
	mux.HandleFunc("GET /v1/models", m.list)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { write(w, g.Stats()) })
	return mux
}

// Serve accepts connections for the models until ctx is done, then ends all requests and
// waits for them. It is called once.
func (g *GPU) Serve(ctx context.Context, listeners map[string]net.Listener) error {
	failed := make(chan error, len(listeners))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(ctx, func() { close(g.quit) })
	for name, ln := range listeners {
		server := &http.Server{Handler: g.Model(name), ReadHeaderTimeout: 10 * time.Second}
		go func() { failed <- serve.Until(ctx, ln, server, nil) }()
	}
	var first error
	for range listeners {
		err := <-failed
		stop()
		if first == nil {
			first = err
		}
	}
	return first
}

// write sends an answer. An error could only be reported to the client, which has left.
func write(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
