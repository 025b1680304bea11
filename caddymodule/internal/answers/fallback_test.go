package answers_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// serveErrors answers a rejected request by error routes.
func serveErrors(t *testing.T, w http.ResponseWriter, routes caddyhttp.HandlerFunc) {
	t.Helper()
	r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "/", nil), caddy.NewReplacer(), w, &caddyhttp.Server{})
	a := answerTo(offloader.QueueFull)
	a.Describe(w.Header())
	r = (*caddyhttp.HTTPErrorConfig)(nil).WithError(r, a.Leave(caddyhttp.Error(a.Status, errors.New("rejected"))))
	if err := (answers.ErrorRoutes{}).ServeHTTP(w, r, routes); err != nil {
		t.Error(err)
	}
}

// A flush sends the head, if no writer in front keeps it.
func TestAFlushIsAGoodAnswer(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	serveErrors(t, w, func(w http.ResponseWriter, _ *http.Request) error {
		return http.NewResponseController(w).Flush()
	})
	if got := w.Result().Header.Get("Retry-After"); w.Code != 200 || got != "" {
		t.Errorf("got %d, Retry-After %q", w.Code, got)
	}
}

// heads is a writer that keeps what Retry-After was in each head.
type heads struct {
	header http.Header
	after  map[int]string
}

func (h *heads) Header() http.Header         { return h.header }
func (h *heads) Write(p []byte) (int, error) { return len(p), nil }
func (h *heads) WriteHeader(status int)      { h.after[status] = h.header.Get("Retry-After") }

// A head that informs leaves the final one as it is, which a 101 is.
func TestHeadsThatInformAreNoAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		final int
		after string
	}{{http.StatusServiceUnavailable, "2"}, {http.StatusOK, ""}, {http.StatusSwitchingProtocols, ""}} {
		w := &heads{http.Header{}, map[int]string{}}
		serveErrors(t, w, func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(tt.final)
			return nil
		})
		if w.after[http.StatusEarlyHints] != "2" || w.after[tt.final] != tt.after {
			t.Errorf("%d: got %v", tt.final, w.after)
		}
	}
}

// Errors that offload has not made keep the fields of their handlers.
func TestOtherErrorsAreLeftAlone(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	w.Header().Set("Retry-After", "7")
	r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, "/", nil), caddy.NewReplacer(), w, &caddyhttp.Server{})
	err := (answers.ErrorRoutes{}).ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusOK)
		return nil
	}))
	if got := w.Header().Get("Retry-After"); got != "7" || err != nil {
		t.Errorf("Retry-After %q, %v", got, err)
	}
}
