package compare

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// notice is the directive "notice": it records panics of the handlers behind it, and
// passes them on.
type notice struct{}

func init() {
	caddy.RegisterModule(notice{})
	httpcaddyfile.RegisterHandlerDirective("notice", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return notice{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("notice", httpcaddyfile.Before, "header")
}

func (notice) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.notice", New: func() caddy.Module { return new(notice) }}
}

func (notice) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if found, ok := plays.Load(r.Header.Get("X-Play")); ok {
			found.(*play).note(fmt.Sprintf("panic of %T, the very error: %v, aborts: %v", v, v == errBoom, v == http.ErrAbortHandler))
		}
		panic(v)
	}()
	return next.ServeHTTP(w, r)
}

var errBoom = errors.New("boom")

// Handlers that panic, seen by a handler in front and by the client, and other acts that
// only handlers are capable of.
func TestComparePanics(t *testing.T) {
	panics := func(v any) http.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) { panic(v) }
	}
	late := func(n int, v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "a/b")
			w.WriteHeader(http.StatusOK)
			inPieces(w, n, 3000)
			flush(w)
			panic(v)
		}
	}
	name := site.HandleBehind(t, func(w http.ResponseWriter, r *http.Request) error {
		found, ok := plays.Load(r.Header.Get("X-Play"))
		if !ok {
			_, err := io.WriteString(w, "after")
			return err
		}
		found.(*play).trial.answer(w, r)
		return nil
	})
	trials := []trial{
		{name: "an error", answer: panics(errBoom)},
		{name: "a text", answer: panics("boom")},
		{name: "nothing", answer: panics(nil)},
		{name: "an abort", answer: panics(http.ErrAbortHandler)},
		{name: "a fault", answer: func(http.ResponseWriter, *http.Request) {
			none := []int{}[:0]
			_ = none[len(none)]
		}},
		{name: "an error after the head", answer: late(0, errBoom)},
		{name: "an error after a part", answer: late(100, errBoom)},
		{name: "an abort after a part", answer: late(100, http.ErrAbortHandler)},
		{name: "an error after 5 KiB", answer: late(5*kib, errBoom)},
		{name: "an abort after 300 KiB", answer: late(300*kib, http.ErrAbortHandler)},
		{name: "an error after an upload", request: request{method: "POST", body: sized(100 * kib)}, answer: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(errBoom)
		}},
		{name: "no panic", answer: says("hello")},
		{name: "a flush before the head", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "a/b")
			flush(w)
			w.Header().Set("X-Late", "1")
			_, _ = io.WriteString(w, "hello")
		}, traits: flushesFirst},
		{name: "a small piece of no type", answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(pattern(100)) }},
		{name: "a large piece of no type", answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(pattern(20000)) }, traits: typeless},
		{name: "a second head", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "hello")
		}},
	}
	for i := range trials {
		trials[i].traits |= unmeasured
	}
	compare(t, route{body: "notice\nOFFLOAD\n" + name}, trials...)
}

// Each panic is logged by Caddy once, on every path.
func TestComparePanicLogs(t *testing.T) {
	name := site.HandleBehind(t, func(_ http.ResponseWriter, r *http.Request) error {
		panic("boom <" + r.URL.Path + ">")
	})
	file := filepath.Join(t.TempDir(), "caddy.log")
	words := []string{""}
	for _, o := range offloadings {
		words = append(words, o.directive())
	}
	global := "log panics {\noutput file " + file + "\nlevel DEBUG\n}"
	sites := site.ServeEach(t, nil, global, "OFFLOAD\n"+name, words...)
	for i, s := range sites {
		for version, c := range s.Clients() {
			res, err := c.Get(fmt.Sprintf("https://%s/%s/%d/", s.Addr, version, i))
			if err == nil {
				res.Body.Close()
			}
		}
	}
	logged := func(version string, i int) int {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), fmt.Sprintf("boom </%s/%d/>", version, i))
	}
	for version := range sites[0].Clients() {
		for i := range sites {
			if version != "h3" { // panics on HTTP/3 are not logged
				testkit.Eventually(t, func() bool { return logged(version, i) > 0 })
			}
			if n, plain := logged(version, i), logged(version, 0); n != plain {
				t.Errorf("%s, %q: logged %d times, without offload %d", version, words[i], n, plain)
			}
		}
	}
}

// A client that leaves is no failure of the upstream, which stays in use, also when the
// run is cancelled later.
func TestComparePassiveHealth(t *testing.T) {
	var up site.Counter
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fail":
			panic(http.ErrAbortHandler)
		case "/hang", "/begin":
			if r.URL.Path == "/begin" {
				typed(w)
			}
			up.Enter()
			defer up.Leave()
			<-r.Context().Done()
		}
	}
	words := []string{""}
	for _, o := range offloadings {
		words = append(words, "offload {\nabandon_timeout 200ms\n"+o.words+"\n}", "offload {\non_abandon cancel\n"+o.words+"\n}")
	}
	sites := site.ServeEach(t, http.HandlerFunc(handler), "", "OFFLOAD\nreverse_proxy UPSTREAM {\nfail_duration 1m\nmax_fails 1\n}", words...)
	for i, s := range sites {
		for version, c := range s.Clients() {
			for _, path := range []string{"/begin", "/hang"} {
				before := up.Total.Load()
				site.Leave(t, c, "https://"+s.Addr+path, func() {
					testkit.Eventually(t, func() bool { return up.Total.Load() > before })
				})
				testkit.Eventually(t, func() bool { return up.Now.Load() == 0 })
				if res, _ := site.Get(t, c, "https://"+s.Addr+"/"); res.StatusCode != http.StatusOK {
					t.Errorf("%s, %q, left at %s: got %d", version, words[i], path, res.StatusCode)
				}
			}
		}
	}
	// Upstreams are known by their address: one failure is enough for all sites.
	c := sites[1].Clients()["h1"]
	if res, _ := site.Get(t, c, "https://"+sites[1].Addr+"/fail"); res.StatusCode != http.StatusBadGateway {
		t.Errorf("got %d for a failure", res.StatusCode)
	}
	for i, s := range sites {
		if res, _ := site.Get(t, s.Clients()["h1"], "https://"+s.Addr+"/"); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%q: got %d after a failure", words[i], res.StatusCode)
		}
	}
}
