package compare

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// trial is one thing that is tried without and with offload.
type trial struct {
	name string
	request

	// answer is the upstream's handler after it has read the request's body. Nil:
	// it answers with hello.
	answer http.HandlerFunc
	// unread: the upstream answers before it has read anything of the body.
	unread bool
	// unlogged: the request does not get as far as Caddy.
	unlogged bool

	// traits select the deviations.
	traits trait

	// on are the versions to be tried, nil: all that can carry the request.
	on []string
	// with are the configurations of offload to be tried, nil: all.
	with []string
	// normal removes differences that are chance from both records.
	normal func(x *exchange)
}

// request is the request of a client, for any version of HTTP.
type request struct {
	method string   // empty: GET
	target string   // empty: /
	fields []string // as "Name: value"
	body   body
	// trailers come after a body of unknown length.
	trailers []string
	// raw is sent as it is by the raw clients and replaces all of the above.
	// PLAY stands for the id in field X-Play, SITE for the address, and \n for
	// the end of a line.
	raw string
	// answers is how many answers to raw are to come, 0: one.
	answers int
	// leave makes the client leave when it returns. Nil: the client stays.
	leave func(p *play)
}

// body is the content of a request.
type body struct {
	open   func(p *play) io.Reader // nil: no body
	length int64
	untold bool // the length is not declared
}

// versions of HTTP. h1.0 and raw compare the exact bytes of heads, the others the messages
// that usual clients get.
var versions = []string{"h1.0", "raw", "h1", "h2", "h2c", "h3"}

var (
	http1    = []string{"h1.0", "raw", "h1"}
	notHTTP1 = []string{"h2", "h2c", "h3"}
	not10    = []string{"raw", "h1", "h2", "h2c", "h3"}
)

// offloading is a configuration of offload that trials go through.
type offloading struct {
	name, words               string
	keepsRequests, keepsReply bool // in a spool
}

// offloadings show the directive as it is by default, without spools, and with
// spools so small that nearly everything goes through their files. Breakers are
// off, since half of the trials are failures.
var offloadings = []offloading{
	{"default", "breaker off", true, true},
	{"unspooled", "breaker off\nrequest_spool off\nresponse_spool off", false, false},
	{"files", "breaker off\nrequest_spool 1KiB 64MiB\nresponse_spool 1KiB 64MiB", true, true},
}

func (o offloading) directive() string { return "offload {\n" + o.words + "\n}" }

// route is where trials go.
type route struct {
	global, body string
	upstream     http.Handler // nil: one that follows the trial
}

// proxied is the plainest route there is.
var proxied = proxy("UPSTREAM")

// proxy is a route through reverse_proxy to upstreams, with its words.
func proxy(upstreams string, words ...string) route {
	return route{body: "OFFLOAD\nreverse_proxy " + upstreams + " {\n" + strings.Join(words, "\n") + "\n}"}
}

// compare plays trials through a route without offload and with each of its
// configurations, over all versions of HTTP, and wants all records to be equal.
func compare(t *testing.T, r route, trials ...trial) {
	t.Helper()
	compareWith(t, r, offloadings, trials...)
}

// compareWith does so with configurations of offload that trials ask for.
func compareWith(t *testing.T, r route, list []offloading, trials ...trial) {
	t.Helper()
	words := []string{""}
	for _, o := range list {
		words = append(words, o.directive())
	}
	var up http.Handler = upstream{}
	if r.upstream != nil {
		up = r.upstream
	}
	body := r.body
	if testkit.Race {
		body = "log_skip\n" + body // see accessLog
	}
	sites := site.ServeEach(t, up, r.global, body, words...)
	stages := make([]*stage, len(sites))
	for i, s := range sites {
		stages[i] = newStage(t, s)
	}
	for _, tr := range trials {
		t.Run(tr.name, func(t *testing.T) {
			for _, version := range tr.versions() {
				tr.compareOn(t, version, list, stages)
			}
		})
	}
}

// versions of HTTP that can carry the request.
func (tr *trial) versions() []string {
	if tr.on != nil {
		return tr.on
	}
	return slices.DeleteFunc(slices.Clone(versions), func(v string) bool {
		switch {
		case tr.raw != "":
			return v != "raw"
		case tr.body.untold: // there was no way to end it
			return v == "h1.0"
		}
		return false
	})
}

func (tr *trial) compareOn(t *testing.T, version string, list []offloading, stages []*stage) {
	t.Helper()
	plain := stages[0].play(t, tr, version)
	for i, o := range list {
		if tr.with != nil && !slices.Contains(tr.with, o.name) {
			continue
		}
		got := stages[i+1].play(t, tr, version)
		want := plain.clone()
		for _, d := range deviations {
			if d.applies(o, tr, version) {
				d.expect(want, got, tr)
			}
		}
		want.agree(got)
		if diff := want.diff(got); diff != "" {
			t.Errorf("%s, %s: - without, + with offload\n%s", version, o.name, diff)
		}
	}
}

// pattern is n bytes of text without a period that divides a buffer's size.
func pattern(n int) []byte {
	text := []byte("all work and no play makes bytes of 61 that nobody confuses.\n")
	return bytes.Repeat(text, n/len(text)+1)[:n]
}

// sized is a body of declared length.
func sized(n int) body {
	if n == 0 {
		return body{}
	}
	return body{open: func(*play) io.Reader { return bytes.NewReader(pattern(n)) }, length: int64(n)}
}

// unsized is a body without a declared length.
func unsized(n int) body {
	return body{open: func(*play) io.Reader { return bytes.NewReader(pattern(n)) }, length: int64(n), untold: true}
}

const (
	kib = 1 << 10
	mib = 1 << 20
)
