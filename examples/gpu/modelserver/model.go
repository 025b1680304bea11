package modelserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Limits of requests and of their answers.
const (
	maxBody       = 2 << 20
	maxTokens     = 32 << 10
	defaultTokens = 128
)

// model is the server of one model.
type model struct {
	gpu  *GPU
	name string
}

// question has the fields of a request that this server uses.
type question struct {
	Model     string `json:"model"`
	Stream    bool   `json:"stream"`
	MaxTokens *int   `json:"max_tokens"`
}

// tokens is the length of the answer.
func (q question) tokens() int {
	if q.MaxTokens == nil {
		return defaultTokens
	}
	return *q.MaxTokens
}

// fault is an error for the client.
type fault struct {
	status        int
	kind, message string
}

func (m *model) chat(w http.ResponseWriter, r *http.Request)     { m.answer(w, r, chatForm) }
func (m *model) complete(w http.ResponseWriter, r *http.Request) { m.answer(w, r, textForm) }

func (m *model) list(w http.ResponseWriter, _ *http.Request) {
	write(w, map[string]any{
		"object": "list",
		"data":   []any{map[string]any{"id": m.name, "object": "model", "created": created, "owned_by": "examples"}},
	})
}

// answer runs one request, if there is room.
func (m *model) answer(w http.ResponseWriter, r *http.Request, f form) {
	q, wrong := m.read(w, r)
	if wrong != nil {
		wrong.write(w)
		return
	}
	user := r.Header.Get("X-User")
	if !m.gpu.figures.begin(user) {
		fault{http.StatusServiceUnavailable, "overloaded_error", "all of the GPU is in use"}.write(w)
		return
	}
	tokens, served := 0, false
	// Deferred, so it runs before the last bytes are sent: when a client has read the end
	// of its answer, the figures no longer count it as running.
	defer func() { m.gpu.figures.end(user, tokens, served) }()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	// The server ends all requests with itself.
	go func() {
		select {
		case <-m.gpu.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	next := func() bool {
		if tokens == q.tokens() {
			return false
		}
		m.gpu.options.Pace(ctx, user)
		if ctx.Err() != nil {
			return false
		}
		tokens++
		return true
	}
	paper := paper{w, f, m.name, next}
	if q.Stream {
		paper.stream()
	} else {
		paper.whole(ctx)
	}
	if served = ctx.Err() == nil; !served {
		panic(http.ErrAbortHandler) // the answer is not complete
	}
}

// read returns the question, or the reason to reject it.
func (m *model) read(w http.ResponseWriter, r *http.Request) (question, *fault) {
	var q question
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&q); err != nil {
		status := http.StatusBadRequest
		if errors.As(err, new(*http.MaxBytesError)) {
			status = http.StatusRequestEntityTooLarge
		}
		return q, &fault{status, "invalid_request_error", "bad body: " + err.Error()}
	}
	if q.Model != m.name {
		return q, &fault{http.StatusNotFound, "invalid_request_error", fmt.Sprintf("the model %q does not exist here, but %q", q.Model, m.name)}
	}
	if n := q.tokens(); n < 1 || n > maxTokens {
		return q, &fault{http.StatusBadRequest, "invalid_request_error", fmt.Sprintf("bad max_tokens %d: want a number from 1 to %d", n, maxTokens)}
	}
	return q, nil
}

// write sends the error in OpenAI's form.
func (f fault) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": f.message, "type": f.kind}})
}
