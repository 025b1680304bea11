//go:build integration

package clients

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// overload is how long a pool has no permit for browsers.
func overload() time.Duration {
	if long() {
		return time.Minute
	}
	return 10 * time.Second
}

// tabs are the pages of one user.
const tabs = 3

// The streams of several tabs come back until they are admitted, however long that takes:
// an EventSource that has seen a status of errors never would.
func TestEventSourcesOutliveAnOverload(t *testing.T) {
	p := startProxy(t, fmt.Sprintf("pool streams {\nconcurrency %d\nqueue 0\n}\n", tabs),
		"@behind path /stream/* /hold/streams\noffload @behind streams {\n"+held+"\n}")
	for name, b := range programsHere() {
		release := p.hold(t, "streams", tabs)
		var urls []string
		for i := range tabs {
			one := call{ID: fmt.Sprint(name, i), URL: fmt.Sprint("/stream/", name, i), Fields: map[string]string{"patient": "yes"}}
			urls = append(urls, pageURL(p.clear+"/page", one.ID, "events", []call{one}))
		}
		b.open(t, urls...)
		testkit.Pause(overload())
		release()
		for i := range tabs {
			id := fmt.Sprint(name, i)
			if got := p.backend.reports.await(t, id); got[0].Body != "hello" {
				t.Errorf("%s: it sees %+v", id, got[0])
			}
		}
		testkit.Quiet(settle)
		sends := p.sends(t)
		for i := range tabs {
			if n := len(sends[fmt.Sprint(name, i)]); n < 2 {
				t.Errorf("%s: it sent %d times: it was never rejected", name, n)
			}
		}
		p.eventually(t, "all tabs are closed", func() bool { return p.running(t, "streams") == 0 })
	}
}

// A page that is opened while its pool is full says so, and opens itself when its turn has
// come, without a script.
func TestPagesWaitInLine(t *testing.T) {
	p := startProxy(t, "pool visits {\nconcurrency 1\nqueue 0\n}\n", "@behind path /visit/* /hold/visits\noffload @behind visits {\n"+held+"\n}")
	for name, b := range programsHere() {
		release := p.hold(t, "visits", 1)
		b.open(t, pageURL(p.clear+"/visit/"+name, name, "arrive", []call{{ID: name}}))
		rejections := func() []send {
			var list []send
			for _, s := range p.sends(t)[name] {
				if s.status != http.StatusOK {
					list = append(list, s)
				}
			}
			return list
		}
		p.eventually(t, "the page came back", func() bool { return len(rejections()) >= 2 })
		release()
		p.backend.reports.await(t, name)
		for _, s := range rejections() {
			if s.status != http.StatusServiceUnavailable || s.fields.Get("Refresh") == "" || !strings.HasPrefix(s.fields.Get("Content-Type"), "text/html") {
				t.Errorf("%s: rejected with %d, %v", name, s.status, s.fields)
			}
		}
	}
}
