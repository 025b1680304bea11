package caddymodule_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// readsBefore are the ways in which handlers in front may read the body of a request.
var readsBefore = map[string]func(r *http.Request) io.ReadCloser{
	"reads it": func(r *http.Request) io.ReadCloser {
		_, _ = io.ReadAll(r.Body)
		return r.Body
	},
	"reads and closes it": func(r *http.Request) io.ReadCloser {
		_, _ = io.ReadAll(r.Body)
		r.Body.Close()
		return r.Body
	},
	"closes it": func(r *http.Request) io.ReadCloser {
		r.Body.Close()
		return r.Body
	},
	"reads a part and closes it": func(r *http.Request) io.ReadCloser {
		_, _ = io.CopyN(io.Discard, r.Body, 3)
		r.Body.Close()
		return r.Body
	},
	"drops it": func(*http.Request) io.ReadCloser { return http.NoBody },
	"puts a closed pipe there": func(*http.Request) io.ReadCloser {
		p, _ := io.Pipe()
		p.Close()
		return p
	},
	"puts an empty one there": func(*http.Request) io.ReadCloser { return io.NopCloser(strings.NewReader("")) },
}

// bodiesBefore are bodies of requests.
var bodiesBefore = map[string]body{"10 bytes": {size: 10}, "100 kB": {size: 100_000}, "of unknown length": {size: 10, untold: true}}

type body struct {
	size   int
	untold bool
}

// post sends the body. A client that is still sending when the answer comes can lose it to
// the end of the connection, and sends again.
func (b body) post(t *testing.T, c *http.Client, url string) (status int, text string) {
	t.Helper()
	const tries = 5
	for try := 1; ; try++ {
		res, err := c.Do(b.request(t, url))
		if err != nil && try < tries {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		all, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(all)
	}
}

func (b body) request(t *testing.T, url string) *http.Request {
	t.Helper()
	var content io.Reader = strings.NewReader(strings.Repeat("x", b.size))
	if b.untold {
		content = io.MultiReader(content)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, content)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // net/http may find the rest of a body that was closed on the next request
	return req
}

// A body that a handler in front has read or closed, such as a reverse_proxy around a
// handle_response, does not mean that the client has left. Handlers behind get the same as
// without offload.
func TestBodiesThatWereReadBefore(t *testing.T) {
	for name, read := range readsBefore {
		t.Run(name, func(t *testing.T) {
			front := site.HandleInFront(t, func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
				r.Body = read(r)
				return next.ServeHTTP(w, r)
			})
			wantAsWithout(t, `
			route {
				`+front+`
				OFFLOAD
				reverse_proxy UPSTREAM
			}`)
		})
	}
}

// The same holds inside a handle_response, whose reverse_proxy has sent the body before.
func TestBodiesInsideHandleResponse(t *testing.T) {
	if testkit.Race {
		return // a transport reads on in a body that it has sent, at the same time as the next handler
	}
	for what, then := range map[string]string{"that sends a GET": "method GET", "that sends it again": ""} {
		t.Run(what, func(t *testing.T) {
			wantAsWithout(t, `
			reverse_proxy UPSTREAM {
				handle_response {
					OFFLOAD
					reverse_proxy UPSTREAM {
						`+then+`
						header_up X-Again 1
					}
				}
			}`)
		})
	}
}

// wantAsWithout sends bodies to a site with and without offload, and wants the same
// answers and no failures.
func wantAsWithout(t *testing.T, config string) {
	t.Helper()
	o := &operator{t, site.FreeAddr(t)}
	plain, offloaded := site.ServeTwins(t, http.HandlerFunc(readThenEcho), "admin "+o.addr, "offload {\n name before\n }", config)
	for name, c := range plain.Clients() {
		for what, b := range bodiesBefore {
			t.Run(name+" "+what, func(t *testing.T) {
				status, text := b.post(t, c, "https://"+plain.Addr)
				gotStatus, got := b.post(t, c, "https://"+offloaded.Addr)
				if gotStatus != status || got != text {
					t.Errorf("got %d with %d bytes, want %d with %d as without offload", gotStatus, len(got), status, len(text))
				}
			})
		}
	}
	if ended := o.get("pools/{name}", "before")["ended_total"].(object); ended["failure"] != 0.0 || ended["success"].(float64)+ended["excluded"].(float64) == 0 {
		t.Errorf("they have ended as %v", ended)
	}
}

// readThenEcho answers once it has the whole body.
func readThenEcho(w http.ResponseWriter, r *http.Request) {
	all, _ := io.ReadAll(r.Body)
	_, _ = w.Write(all)
}
