package streams

import (
	"io"
	"net/http"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Messages that ask to be handed on as they come (RFC 10036) are, in either
// direction, and hold their permit as long as that takes.
func TestStreamsIncremental(t *testing.T) {
	kit.BesidesCaddysRaces(t, checkIncremental)
}

func checkIncremental(t *testing.T) {
	came := make(chan string)
	up := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/answer" {
			w.Header().Set("Incremental", "?1")
			w.Write(make([]byte, 32<<20))
			return
		}
		buf := make([]byte, 5)
		for {
			n, err := io.ReadFull(r.Body, buf)
			came <- string(buf[:n])
			if err != nil {
				return
			}
		}
	})
	plain, offloaded := site.ServeTwins(t, up, "", "offload {\nname incremental\nconcurrency 1\nqueue 0\n}", "OFFLOAD\n"+kit.StateRoute+"reverse_proxy UPSTREAM")
	for name, s := range map[string]*site.Site{"plain": plain, "offload": offloaded} {
		for version, c := range s.Clients() {
			t.Run(name+"/"+version+"/request", func(t *testing.T) {
				inTime(t, "the request", func() { sendIncremental(t, s, c, came) })
			})
			t.Run(name+"/"+version+"/response", func(t *testing.T) {
				res, err := c.Get("https://" + s.Addr + "/answer")
				if err != nil {
					t.Fatal(err)
				}
				wantHeld(t, s) // the client does not read, and nothing is kept
				if n, err := io.Copy(io.Discard, res.Body); n != 32<<20 || err != nil {
					t.Errorf("got %d bytes, %v", n, err)
				}
				res.Body.Close()
			})
			if s == offloaded {
				kit.Idle(t, s)
			}
		}
	}
}

// wantHeld checks that the one permit of a site is taken, if it has offload.
func wantHeld(t *testing.T, s *site.Site) {
	t.Helper()
	const without = "{http.offload.in_flight}"
	if res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr+"/state"); res.StatusCode != 503 && body != without {
		t.Errorf("got %d %q beside it", res.StatusCode, body)
	}
}

// sendIncremental writes each part of a body when the one before has arrived.
func sendIncremental(t *testing.T, s *site.Site, c *http.Client, came <-chan string) {
	body, writer := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr, body)
	req.Header.Set("Incremental", "?1")
	answer := make(chan error, 1)
	go func() {
		res, err := c.Do(req)
		if err == nil {
			res.Body.Close()
		}
		answer <- err
	}()
	for range 5 {
		io.WriteString(writer, "piece")
		if got := <-came; got != "piece" {
			t.Errorf("the upstream got %q", got)
		}
	}
	wantHeld(t, s)
	writer.Close()
	if rest := <-came; rest != "" {
		t.Errorf("the upstream got %q at the end", rest)
	}
	if err := <-answer; err != nil {
		t.Error(err)
	}
}
