package caddymodule_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// trickler is a client of one kind and version, against a separate pool with one permit.
type trickler struct {
	name, version, field, value string
}

func tricklers() (all []trickler) {
	for i, k := range kinds {
		for _, version := range k.versions {
			all = append(all, trickler{fmt.Sprintf("slow%d%s", i, version), version, k.field, k.value})
		}
	}
	return all
}

// routes are a pool and a route for each of them.
func routes(all []trickler, words string) string {
	var text strings.Builder
	for _, k := range all {
		fmt.Fprintf(&text, "handle /%s {\n offload {\n name %s\n concurrency 1\n max_wait 1m\n breaker {\n consecutive_failures 1\n }\n %s\n }\n reverse_proxy UPSTREAM\n }\n",
			k.name, k.name, words)
	}
	return text.String()
}

// begin sends the start of a body and leaves it open.
func (k trickler) begin(t *testing.T, c *http.Client, url string) (*asked, *io.PipeWriter) {
	t.Helper()
	return attacker{t: t, c: c, url: url + "/" + k.name, field: k.field, value: k.value}.open()
}

// A request whose body trickles does not keep a permit from others: it is ended as its
// client's fault as soon as another request waits, its permit is released, and the breaker
// does not count it.
func TestSlowUnspooledBodiesGiveWay(t *testing.T) {
	all := tricklers()
	s, o := serveOperated(t, http.HandlerFunc(discards), routes(all, ""))
	var tests sync.WaitGroup
	for _, k := range all {
		c := s.Clients()[k.version]
		slow, rest := k.begin(t, c, "https://"+s.Addr)
		o.counts(k.name, 1, 0)
		tests.Go(func() {
			waiter := ask(t, c, "https://"+s.Addr+"/"+k.name)
			came := within(t, slow.done)
			rest.CloseWithError(context.Canceled)
			waiter.want(t, 200)
			switch {
			case !came:
			case slow.res == nil && k.version == "h1": // it was still sending
			case slow.res == nil:
				t.Errorf("%s: no answer: %v", k.name, slow.err)
			case k.field == "Content-Type" && strings.Contains(k.value, "grpc"):
				if slow.res.Header.Get("Grpc-Status") != "4" {
					t.Errorf("%s: got %v", k.name, slow.res.Header)
				}
			case slow.res.StatusCode != 408:
				t.Errorf("%s: got %d", k.name, slow.res.StatusCode)
			}
		})
	}
	tests.Wait()
	for _, k := range all {
		o.counts(k.name, 0, 0)
		p := o.get("pools/{name}", k.name)
		if p["breaker"] != "closed" || p["ended_total"].(object)["excluded"] != 1.0 {
			t.Errorf("%s: %v", k.name, p)
		}
	}
}

// A client that waits for an answer while its body is spooled gets 408 in the end, and the
// log names the cure.
func TestSlowBodiesSayWhatToDo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	s := site.ServeGlobal(t, http.HandlerFunc(discards),
		"log {\n output file "+file+"\n level INFO\n }\n servers {\n protocols h1 h2 h2c h3\n timeouts {\n read_body 300ms\n }\n }",
		"offload {\n name says\n }\n reverse_proxy UPSTREAM")
	body, rest := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Addr, body)
	req.Header.Set("Content-Type", "application/talk")
	a := askFor(s.Clients()["h2"], req)
	io.WriteString(rest, "are you there?")
	a.want(t, 408)
	rest.Close()
	testkit.Eventually(t, func() bool {
		for _, line := range site.Lines(file) {
			if line["logger"] == "http.handlers.offload" && line["content_type"] == "application/talk" {
				return strings.Contains(line["hint"].(string), "unspooled")
			}
		}
		return false
	})
}

// Bodies of the same kinds that must not be ended: a silent stream that has its head, a
// body that comes fast enough, one that the backend does not read, and one without
// waiters for its permit.
func TestUnspooledBodiesThatAreLeftAlone(t *testing.T) {
	cases := []trickler{
		{"head", "h2", "Content-Type", "application/grpc"},
		{"head3", "h3", "Content-Type", "application/connect+proto"},
		{"fast", "h1", "Incremental", "?1"},
		{"untaken", "h2", "Content-Type", "application/x-ndjson"},
		{"alone", "h3", "Incremental", "?1"},
	}
	done := make(chan struct{})
	s, o := serveOperated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
		case strings.HasPrefix(r.URL.Path, "/head"):
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			http.NewResponseController(w).EnableFullDuplex()
			http.NewResponseController(w).Flush()
			io.Copy(io.Discard, r.Body)
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		case r.URL.Path == "/untaken":
			<-done
			io.Copy(io.Discard, r.Body)
		default:
			io.Copy(io.Discard, r.Body)
		}
	}), routes(cases, ""))
	clients := s.Clients()
	streams := make(map[string]*asked)
	ends := make(map[string]*io.PipeWriter)
	var waiters []*asked
	for _, k := range cases {
		streams[k.name], ends[k.name] = k.begin(t, clients[k.version], "https://"+s.Addr)
		o.counts(k.name, 1, 0)
		if k.name != "alone" {
			waiters = append(waiters, ask(t, clients["h1"], "https://"+s.Addr+"/"+k.name))
			o.untilWaiting(k.name, 1)
		}
	}
	go feed(ends["fast"], strings.Repeat("x", 1000), 100*time.Millisecond)
	go ends["untaken"].Write(make([]byte, 4<<20)) // more than is under way
	testkit.Quiet(7 * time.Second)
	for _, k := range cases {
		if p := o.get("pools/{name}", k.name); p["running"] != 1.0 || p["ended_total"].(object)["excluded"] != 0.0 {
			t.Errorf("%s: %v running, ended %v", k.name, p["running"], p["ended_total"])
		}
	}
	close(done)
	for _, k := range cases {
		ends[k.name].Close()
	}
	for name, a := range streams {
		if <-a.done; a.res == nil || a.res.StatusCode != 200 {
			t.Errorf("%s: got %v, %v", name, a.res, a.err)
		}
	}
	for _, a := range waiters {
		a.want(t, 200)
	}
}
