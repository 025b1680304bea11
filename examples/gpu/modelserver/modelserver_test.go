package modelserver

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// ask sends one request of a user and reports whether the answer is complete.
func ask(ctx context.Context, g *GPU, path, body string) (rec *httptest.ResponseRecorder, whole bool) {
	rec = httptest.NewRecorder()
	defer func() { whole = recover() == nil }()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("X-User", "anna")
	g.Model("small").ServeHTTP(rec, req)
	return rec, true
}

func TestAnswersHaveTheFormsOfOpenAI(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{})
		for path, want := range map[string]string{
			"/v1/chat/completions": `"message":{"content":"One GPU ","role":"assistant"}`,
			"/v1/completions":      `"text":"One GPU "`,
		} {
			rec, _ := ask(t.Context(), g, path, `{"model": "small", "max_tokens": 2}`)
			if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), want) || !json.Valid(rec.Body.Bytes()) {
				t.Errorf("%s: %d %s, want %s", path, rec.Code, rec.Body, want)
			}
		}
		for path, want := range map[string][]string{
			"/v1/chat/completions": {`"role":"assistant"`, `"delta":{"content":"One "}`, `"delta":{"content":"GPU "}`, `"finish_reason":"length"`, "[DONE]"},
			"/v1/completions":      {`"text":"One "`, `"text":"GPU "`, `"finish_reason":"length"`, "[DONE]"},
		} {
			rec, _ := ask(t.Context(), g, path, `{"model": "small", "max_tokens": 2, "stream": true}`)
			events := strings.Split(strings.TrimSpace(rec.Body.String()), "\n\n")
			if len(events) != len(want) || rec.Header().Get("Content-Type") != "text/event-stream" {
				t.Fatalf("%s: %s", path, rec.Body)
			}
			for i, event := range events {
				if !strings.HasPrefix(event, "data: ") || !strings.Contains(event, want[i]) {
					t.Errorf("%s: %s, want %s", path, event, want[i])
				}
			}
		}
	})
}

func TestTokensHaveAPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, began := New(Options{}), time.Now()
		ask(t.Context(), g, "/v1/completions", `{"model": "small", "stream": true}`)
		if took := time.Since(began); took != defaultTokens*defaultPace {
			t.Errorf("took %v", took)
		}
	})
}

func TestRequestsAboveTheLimitAreOverloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{Parallel: 2})
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { ask(t.Context(), g, "/v1/completions", `{"model": "small"}`) })
		}
		synctest.Wait()
		rec, _ := ask(t.Context(), g, "/v1/completions", `{"model": "small"}`)
		if rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), "overloaded_error") {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		all.Wait()
		got := g.Stats()
		if got.MostRunning != 2 || got.Overloads != 1 || got.Running != 0 || got.Users["anna"] != (Usage{Started: 2, Served: 2, Tokens: 256}) {
			t.Errorf("%+v", got)
		}
	})
}

func TestARequestEndsWithItsClient(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"model": "small", "stream": true}`, `{"model": "small"}`} {
		synctest.Test(t, func(t *testing.T) {
			g := New(Options{})
			ctx, leave := context.WithTimeout(t.Context(), 5*defaultPace+defaultPace/2)
			defer leave()
			if _, whole := ask(ctx, g, "/v1/completions", body); whole {
				t.Error("the answer is complete")
			}
			if got := g.Stats(); got.Running != 0 || got.Users["anna"] != (Usage{Started: 1, Left: 1, Tokens: 5}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestWrongRequestsAreRejected(t *testing.T) {
	t.Parallel()
	g := New(Options{})
	for body, want := range map[string]int{
		`{"model": "medium"}`:                       http.StatusNotFound,
		`{"model": "small", "max_tokens": 0}`:       http.StatusBadRequest,
		`{"model": "small", "max_tokens": 1000000}`: http.StatusBadRequest,
		`{"model": `: http.StatusBadRequest,
		`{"model": "` + strings.Repeat("x", maxBody+1) + `"}`: http.StatusRequestEntityTooLarge,
	} {
		if rec, _ := ask(t.Context(), g, "/v1/chat/completions", body); rec.Code != want {
			t.Errorf("%.40s: %d, want %d", body, rec.Code, want)
		}
	}
	if got := g.Stats(); len(got.Users) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestModelsAndFigures(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v1/models": `{"data":[{"created":1700000000,"id":"small","object":"model","owned_by":"examples"}],"object":"list"}`,
		"/stats":     `{"parallel":4,"running":0,"most_running":0,"overloads":0,"users":{}}`,
	} {
		rec := httptest.NewRecorder()
		New(Options{}).Model("small").ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if got := strings.TrimSpace(rec.Body.String()); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
