package caddymodule_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// received is the part of an upload that a backend has got.
type received struct {
	bytes int64
	err   error // behind them
}

// receives is a backend of resumable uploads.
func receives() (http.Handler, chan received) {
	all := make(chan received, 10)
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		all <- received{n, err}
	}), all
}

func wantPart(t *testing.T, all chan received, bytes int64) {
	t.Helper()
	if got := testkit.Receive(t, all); got.bytes != bytes || got.err == nil {
		t.Errorf("the backend has got %d bytes and %v, want %d bytes and an error", got.bytes, got.err, bytes)
	}
}

const (
	wholeUpload = 1_000_000
	partUpload  = 600_000
)

// bodies counts the bytes of uploads in front of offload.
type bodies struct{ read atomic.Int64 }

// directive returns the directive that counts the reads of bodies.
func (b *bodies) directive(t *testing.T) string {
	return site.HandleInFront(t, func(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
		if r.Method != http.MethodGet {
			r.Body = &countedBody{r.Body, &b.read}
		}
		return next.ServeHTTP(w, r)
	}) + "\n"
}

// countedBody adds the bytes that are read of it.
type countedBody struct {
	io.ReadCloser
	read *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// breakOff sends a part of an upload, and leaves when the server has read it.
func (b *bodies) breakOff(t *testing.T, c *http.Client, url string, fields string, sent func()) {
	t.Helper()
	before := b.read.Load()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	body, rest := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = wholeUpload
	for field := range strings.SplitSeq(fields, "\n") {
		name, value, _ := strings.Cut(field, ": ")
		req.Header.Set(name, value)
	}
	a := askFor(c, req)
	io.WriteString(rest, strings.Repeat("x", partUpload))
	sent()
	testkit.Eventually(t, func() bool { return b.read.Load() == before+partUpload })
	leave()
	rest.CloseWithError(context.Canceled)
	<-a.done
}

var resumables = map[string]string{
	"tus":         "Tus-Resumable: 1.0.0\nUpload-Offset: 0\nContent-Type: application/offset+octet-stream",
	"draft":       "Upload-Complete: ?1\nUpload-Offset: 0\nContent-Type: application/partial-upload",
	"first draft": "Upload-Incomplete: ?0\nUpload-Draft-Interop-Version: 1",
}

// The part of a resumable upload before its client broke off reaches the backend, cut,
// under a permit like any other, and does not count for the breaker.
func TestResumableUploadsThatBreakOff(t *testing.T) {
	for _, words := range []string{"", "on_abandon cancel", "request_spool 1KiB 2MiB\n on_abandon finish", "unspooled resumable", "request_spool off"} {
		up, all := receives()
		var b bodies
		s, o := serveOperated(t, up, b.directive(t)+`
		offload {
			name resumes
			breaker {
				consecutive_failures 1
			}
			`+words+`
		}
		reverse_proxy UPSTREAM`)
		logged, spooled := 0, !strings.HasSuffix(words, "resumable") && words != "request_spool off"
		s.EachVersion(func(t *testing.T, c *http.Client, url string) {
			for name, fields := range resumables {
				t.Run(name, func(t *testing.T) {
					b.breakOff(t, c, url, fields, func() {
						if spooled {
							o.eventually("resumes", func(p object) bool { return p["uploading"] == 1.0 })
						}
					})
					wantPart(t, all, partUpload)
					logged++
				})
			}
		})
		o.counts("resumes", 0, 0)
		p := o.get("pools/{name}", "resumes")
		if p["breaker"] != "closed" || p["ended_total"].(object)["failure"] != 0.0 {
			t.Errorf("%q: %v", words, p)
		}
		for _, line := range s.AccessLog(logged) {
			fields := line["offload"].(map[string]any)
			if fields["outcome"] != "excluded" || (spooled && (line["status"] != 499.0 || fields["part"] != float64(partUpload))) {
				t.Errorf("%q: logged %v %v", words, line["status"], fields)
			}
		}
	}
}

// A part waits for its permit although its client has left, and passes nested pools. When
// there is no place for it, it is lost.
func TestPartsOfUploadsWaitTheirTurn(t *testing.T) {
	up, all := receives()
	var b bodies
	busy := newBusy()
	s, o := serveOperatedWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			busy.ServeHTTP(w, r)
			return
		}
		up.ServeHTTP(w, r)
	}), "offload {\n pool outer\n pool inner {\n concurrency 1\n queue 1\n max_wait off\n }\n }\n", b.directive(t)+`
	route {
		offload outer
		offload inner
		reverse_proxy UPSTREAM
	}`)
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		holder := ask(t, c, url)
		testkit.Eventually(t, func() bool { return busy.Now.Load() == 1 })
		b.breakOff(t, c, url, resumables["tus"], func() {
			o.eventually("outer", func(p object) bool { return p["uploading"] == 1.0 })
		})
		o.untilWaiting("inner", 1)
		b.breakOff(t, c, url, resumables["draft"], func() {
			o.eventually("outer", func(p object) bool { return p["uploading"] == 1.0 })
		})
		o.eventually("outer", func(p object) bool { return p["running"] == 2.0 && p["uploading"] == 0.0 }) // the second is lost
		busy.end(t, 1)
		holder.want(t, 200)
		wantPart(t, all, partUpload)
		o.counts("inner", 0, 0)
		o.counts("outer", 0, 0)
		select {
		case got := <-all:
			t.Errorf("the backend has also got %v", got)
		default:
		}
	})
	if p := o.get("pools/{name}", "inner"); p["rejected_total"].(object)["queue_full"] != 3.0 {
		t.Errorf("rejected %v", p["rejected_total"])
	}
}

// A client that is only too slow gets a response, and the backend has the bytes so far.
func TestSlowResumableUploads(t *testing.T) {
	up, all := receives()
	s := site.ServeGlobal(t, up, "servers {\n protocols h1 h2 h2c h3\n timeouts {\n read_body 500ms\n }\n }", `
	offload {
		name slow
		breaker {
			consecutive_failures 1
		}
	}
	reverse_proxy UPSTREAM`)
	conn, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PATCH / HTTP/1.1\r\nHost: %s\r\nTus-Resumable: 1.0.0\r\nContent-Length: %d\r\n\r\n%s", s.Addr, wholeUpload, strings.Repeat("x", partUpload))
	wantPart(t, all, partUpload)
	answer, err := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
		t.Errorf("got %q, %v", answer, err)
	}
	if res, _ := site.Get(t, s.Clients()["h1"], "https://"+s.Addr); res.StatusCode != 200 {
		t.Errorf("then got %d", res.StatusCode)
	}
}

// Uploads that cannot be resumed are lost with their clients: half of one is of no use.
func TestOtherUploadsThatBreakOff(t *testing.T) {
	up, all := receives()
	var b bodies
	s, o := serveOperated(t, up, b.directive(t)+"offload {\n name others\n }\n reverse_proxy UPSTREAM")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		b.breakOff(t, c, url, "Content-Type: application/octet-stream", func() {
			o.eventually("others", func(p object) bool { return p["uploading"] == 1.0 })
		})
		o.eventually("others", func(p object) bool { return p["uploading"] == 0.0 })
		site.Get(t, c, url)
		select {
		case got := <-all:
			t.Errorf("the backend has got %v", got)
		default:
		}
	})
}
