package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// budgetStage is a site with two pools whose spools may keep little. Clients are known
// by X-Forwarded-For.
type budgetStage struct {
	*site.Site
	*operator
	t *testing.T
}

func serveTight(t *testing.T) *budgetStage {
	b := &budgetStage{t: t}
	b.Site, b.operator = serveOperatedWith(t, http.HandlerFunc(bigOrEcho), `
	servers {
		trusted_proxies static 127.0.0.0/8
		protocols h1 h2 h2c h3
	}
	offload {
		spool {
			memory 1MiB
			disk 8MiB
			uploads 40
			min_rate off
		}
	}`, `
	offload /a* {
		name a
		concurrency 100
	}
	offload /b* {
		name b
	}
	offload /keyed* {
		name keyed
		concurrency 100
		fair_by {http.request.header.X-User}
	}
	reverse_proxy UPSTREAM`)
	return b
}

// bigOrEcho answers a GET with more than is ever kept, and a POST with its length.
func bigOrEcho(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		_, _ = io.CopyN(w, zeros{}, 64<<20)
		return
	}
	n, _ := io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, n)
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// each runs f for each version of HTTP, HTTP/2 in the clear too.
func (b *budgetStage) each(f func(t *testing.T, c *http.Client, url string)) {
	b.EachVersion(f)
	b.t.Run("h2c", func(t *testing.T) { f(t, clearClient(t), "http://"+b.Clear) })
}

// clearClient speaks HTTP/2 in the clear.
func clearClient(t *testing.T) *http.Client {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &only}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// another is a client like c with a separate connection, whose window no other client
// uses.
func (b *budgetStage) another(t *testing.T, url string) *http.Client {
	if _, version, _ := strings.Cut(t.Name(), "/"); version != "h2c" {
		return b.Clients()[version]
	}
	return clearClient(t)
}

// from makes a request of a client.
func from(t *testing.T, client, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", client)
	return req
}

// post uploads n bytes and expects their number in the response.
func (b *budgetStage) post(t *testing.T, c *http.Client, req *http.Request, n int64) {
	t.Helper()
	req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeros{}, n)), n
	if res, text := site.Do(t, c, req); res.StatusCode != 200 || text != fmt.Sprint(n) {
		t.Errorf("an upload of %d bytes got %d %q", n, res.StatusCode, text)
	}
}

// half waits until a direction has at least that much on disk.
func (b *budgetStage) untilDisk(half string, n float64) {
	b.operator.t.Helper()
	testkit.Eventually(b.operator.t, func() bool { return b.get("spool", "")[half].(object)["disk_bytes"].(float64) >= n })
}

func (b *budgetStage) atRest() {
	b.operator.t.Helper()
	testkit.Eventually(b.operator.t, func() bool {
		all := b.get("spool", "")["usage"].(object)
		return all["memory_bytes"] == 0.0 && all["disk_bytes"] == 0.0 && all["uploads"] == 0.0
	})
}

// Clients that do not read their responses use up the budget for responses, but not that
// for uploads, in any pool.
func TestStalledReadersLeaveRoomForUploads(t *testing.T) {
	b := serveTight(t)
	b.each(func(t *testing.T, c *http.Client, url string) {
		for i := range 3 {
			res, err := b.another(t, url).Do(from(t, fmt.Sprintf("192.0.2.%d", i), http.MethodGet, url+"/a", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
		}
		b.untilDisk("responses", 2<<20)
		for range 5 {
			b.post(t, c, from(t, "192.0.2.1", http.MethodPost, url+"/a", nil), 700_000)
			b.post(t, c, from(t, "192.0.2.9", http.MethodPost, url+"/b", nil), 700_000)
		}
	})
	b.atRest()
}

const (
	trickled = 450_000 // bytes of an upload, seven blocks
	rest     = 30_000  // of it, sent when the upload ends
)

// uploadMost uploads all but the rest.
func uploadMost(c *http.Client, req *http.Request) (a *asked, end func()) {
	body, writer := io.Pipe()
	req.Body, req.ContentLength = body, trickled
	go io.CopyN(writer, zeros{}, trickled-rest)
	return askFor(c, req), func() {
		_, _ = io.CopyN(writer, zeros{}, rest)
		writer.Close()
	}
}

// Uploads that trickle use up the share of their client in that pool. Accepted uploads
// are served, those above the share are rejected, and there is room for other clients
// and other pools.
func TestTricklingUploadsLeaveRoomForOthers(t *testing.T) {
	b := serveTight(t)
	b.each(func(t *testing.T, c *http.Client, url string) {
		var all []*asked
		var ends []func()
		refused := make(chan string, 15)
		for range 15 {
			a, end := uploadMost(b.another(t, url), from(t, "192.0.2.1", http.MethodPost, url+"/a", nil))
			all, ends = append(all, a), append(ends, end)
			go func() {
				if <-a.done; a.err == nil && a.res.StatusCode == 503 {
					refused <- a.res.Header.Get("Retry-After")
				}
			}()
		}
		b.untilDisk("requests", 2<<20)
		if after := <-refused; after == "" {
			t.Error("a refusal does not say when to come back")
		}
		for _, size := range []int64{10, 10_000, 300_000} {
			b.post(t, c, from(t, "192.0.2.1", http.MethodPost, url+"/b", nil), size)
			b.post(t, c, from(t, "192.0.2.2", http.MethodPost, url+"/a", nil), size)
			b.post(t, c, from(t, "192.0.2.2", http.MethodPost, url+"/b", nil), size)
		}
		b.post(t, c, from(t, "192.0.2.1", http.MethodPost, url+"/a", nil), 10)
		served := 0
		for i, a := range all {
			go ends[i]()
			if <-a.done; a.err == nil && a.res.StatusCode == 200 && a.body == fmt.Sprint(trickled) {
				served++
			}
		}
		if served < 5 {
			t.Errorf("%d uploads that were taken in were served", served)
		}
	})
	b.atRest()
}

// Clients that do not read leave room for the responses to others, whose runs do not
// wait for them.
func TestStalledReadersLeaveRoomForOtherReaders(t *testing.T) {
	b := serveTight(t)
	b.each(func(t *testing.T, _ *http.Client, url string) {
		for range 3 {
			res, err := b.another(t, url).Do(from(t, "192.0.2.1", http.MethodGet, url+"/a", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
		}
		b.untilDisk("responses", 2<<20)
		before := b.get("spool", "")["responses"].(object)["disk_bytes"].(float64)
		for i, path := range []string{"/a", "/b"} {
			res, err := b.another(t, url).Do(from(t, fmt.Sprintf("192.0.2.1%d", i), http.MethodGet, url+path, nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			before += 200_000
			b.untilDisk("responses", before)
		}
	})
	b.atRest()
}

// One client in one pool does not get all places of uploads.
func TestUploadsLeavePlaces(t *testing.T) {
	uploadsLeavePlaces(t, "/a",
		func(t *testing.T, url string, _ int) *http.Request {
			return from(t, "192.0.2.1", http.MethodPost, url, nil)
		},
		func(t *testing.T, url string) *http.Request { return from(t, "192.0.2.2", http.MethodPost, url, nil) })
}

// In a pool that counts by key, no key gets all places, from any number of addresses.
func TestUploadsOfAKeyLeavePlaces(t *testing.T) {
	of := func(t *testing.T, user, client, url string) *http.Request {
		req := from(t, client, http.MethodPost, url, nil)
		req.Header.Set("X-User", user)
		return req
	}
	uploadsLeavePlaces(t, "/keyed",
		func(t *testing.T, url string, i int) *http.Request {
			return of(t, "greedy", fmt.Sprint("192.0.2.", i), url)
		},
		func(t *testing.T, url string) *http.Request { return of(t, "modest", "192.0.2.1", url) })
}

// uploadsLeavePlaces makes uploads of a greedy client, which leave places to it in other pools,
// and to a modest client.
func uploadsLeavePlaces(
	t *testing.T, path string,
	greedy func(t *testing.T, url string, i int) *http.Request, modest func(t *testing.T, url string) *http.Request,
) {
	const most = 27 // of 40: twice the remaining ones, and three
	b := serveTight(t)
	b.each(func(t *testing.T, c *http.Client, url string) {
		var open []*io.PipeWriter
		var all []*asked
		for i := range 35 {
			body, writer := io.Pipe()
			req := greedy(t, url+path, i)
			req.Body = body
			all = append(all, askFor(b.another(t, url), req))
			io.WriteString(writer, "x")
			open = append(open, writer)
		}
		testkit.Eventually(t, func() bool { return ended(all) == 35-most })
		b.post(t, c, greedy(t, url+"/b", 1), 10)
		b.post(t, c, modest(t, url+path), 10)
		for _, writer := range open {
			go writer.Close()
		}
		served := 0
		for _, a := range all {
			if <-a.done; a.err == nil && a.res.StatusCode == 200 {
				served++
			}
		}
		if served != most {
			t.Errorf("%d of 35 uploads were served, want %d", served, most)
		}
	})
	b.atRest()
}

// ended counts those that have their answer.
func ended(all []*asked) (n int) {
	for _, a := range all {
		select {
		case <-a.done:
			n++
		default:
		}
	}
	return n
}

// While the spool folder cannot be used, the admin endpoint and the command show that.
// Bodies stay in memory meanwhile.
func TestSpoolFolderThatCannotBeUsedIsShown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, o := serveOperatedWith(t, http.HandlerFunc(bigOrEcho), "offload {\n spool {\n dir "+dir+"\n memory 4MiB\n }\n }", `
	offload {
		name memory
		request_spool 1KiB 1MiB
	}
	reverse_proxy UPSTREAM`)
	limits := func() object { return o.get("spool", "")["limits"].(object) }
	if text, _ := limits()["dir_error"].(string); !strings.Contains(text, dir) {
		t.Errorf("the error is %q", text)
	}
	if text := o.offload("spool"); !strings.Contains(text, "cannot be used") || !strings.Contains(text, dir) {
		t.Errorf("the command prints %s", text)
	}
	b := &budgetStage{s, o, t}
	b.each(func(t *testing.T, c *http.Client, url string) {
		b.post(t, c, from(t, "192.0.2.1", http.MethodPost, url, nil), 500_000)
	})
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if text, there := limits()["dir_error"]; there {
		t.Errorf("the error of a folder that can be made is %v", text)
	}
	if text := o.offload("spool"); strings.Contains(text, "cannot be used") {
		t.Errorf("the command prints %s", text)
	}
	b.atRest()
}
