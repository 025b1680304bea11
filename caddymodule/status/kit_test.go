package status_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

func TestMain(m *testing.M) { site.Main(m) }

// backend blocks requests until their path is released.
type backend struct{ release chan struct{} }

// freeLater releases all requests at the end of the test, before its site stops.
func (b *backend) freeLater(t *testing.T) {
	t.Cleanup(func() {
		select {
		case <-b.release:
		default:
			close(b.release)
		}
	})
}

func (b *backend) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-b.release:
	case <-r.Context().Done():
	}
}

// stage is a site with a page, and a browser.
type stage struct {
	*site.Site
	t *testing.T
	c *http.Client
}

const usual = `
offload_status /status* {
	actions
}
offload /report/* {
	name reports
	concurrency 1
	queue 10
}
reverse_proxy UPSTREAM
`

func serve(t *testing.T, body string) (*stage, *backend) {
	t.Helper()
	b := &backend{make(chan struct{})}
	s := site.Serve(t, b, body)
	b.freeLater(t)
	return newStage(t, s), b
}

func newStage(t *testing.T, s *site.Site) *stage {
	c := s.Clients()["h1"]
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &stage{s, t, c}
}

func (s *stage) url(path string) string { return "https://" + s.Addr + path }

// get requests a page.
func (s *stage) get(path string, status int) (*http.Response, string) {
	s.t.Helper()
	res, text := site.Get(s.t, s.c, s.url(path))
	if res.StatusCode != status {
		s.t.Fatalf("%s: got %d %s, want %d", path, res.StatusCode, text, status)
	}
	return res, text
}

// ask sends a request that the backend may block, until the test ends.
func (s *stage) ask(path string, fields ...string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url(path), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	go func() {
		defer close(done)
		if res, err := s.c.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// untilShown requests a page until it has a text.
func (s *stage) untilShown(path, want string) (text string) {
	s.t.Helper()
	testkit.Eventually(s.t, func() bool {
		_, text = s.get(path, http.StatusOK)
		return strings.Contains(text, want)
	})
	return text
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

// token returns the token of a page.
func (s *stage) token(path string) string {
	s.t.Helper()
	_, text := s.get(path, http.StatusOK)
	found := tokenField.FindStringSubmatch(text)
	if found == nil {
		s.t.Fatalf("no token in %s", text)
	}
	return found[1]
}

// post sends a form as a browser does from a page of the same site. fields replace what it
// sends about that, an empty value removes a field.
func (s *stage) post(path string, form url.Values, fields ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url(path), strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "https://"+s.Addr)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] == "" {
			req.Header.Del(fields[i])
		} else {
			req.Header.Set(fields[i], fields[i+1])
		}
	}
	return site.Do(s.t, s.c, req)
}

// part is a piece of a message of the stream.
type part struct {
	Kind  string
	Value json.RawMessage
}

// follow receives the stream of a page. The channel is closed when it ends.
func (s *stage) follow(c *http.Client, path string) <-chan []part {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url(path), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("got %d %s", res.StatusCode, res.Header)
	}
	messages, done := make(chan []part, 100), make(chan struct{})
	go func() {
		defer close(done)
		defer close(messages)
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			text, ok := strings.CutPrefix(lines.Text(), "data: ")
			var parts []part
			if ok && json.Unmarshal([]byte(text), &parts) == nil {
				messages <- parts
			}
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
	})
	return messages
}

// find returns the newest part of a kind in the next messages that holds a text.
func find(t *testing.T, messages <-chan []part, kind, want string) {
	t.Helper()
	for range 20 {
		for _, p := range testkit.Receive(t, messages) {
			if p.Kind == kind && strings.Contains(string(p.Value), want) {
				return
			}
		}
	}
	t.Fatalf("no part %s has %q", kind, want)
}
