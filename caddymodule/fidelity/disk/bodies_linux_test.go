package disk

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/dustin/go-humanize"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

var bodiesSize = flag.String("bodies.size", "64MiB", "how large the bodies of the test of large bodies are")

// bodyStage is a Caddy in a separate process, and an upstream, that pass large bodies.
type bodyStage struct {
	*site.Process
	started  chan struct{} // closed when there is a process
	dir      string
	size     int64
	spooled  atomic.Int64  // bytes in files when the upstream got the request
	produced chan struct{} // gets one when the upstream has written its answer
}

func newBodyStage(t *testing.T) *bodyStage {
	size, err := humanize.ParseBytes(*bodiesSize)
	if err != nil {
		t.Fatal(err)
	}
	b := &bodyStage{dir: t.TempDir(), size: int64(size), started: make(chan struct{}), produced: make(chan struct{}, 1)}
	b.Process = site.Start(t, b, "offload {\n\t\tspool {\n\t\t\tdir "+b.dir+"\n\t\t}\n\t}", `
	offload {
		name large
		request_spool 256KiB 3GiB
		response_spool 256KiB 3GiB
	}
	reverse_proxy UPSTREAM`, site.Limits{})
	close(b.started)
	return b
}

// ServeHTTP answers a GET with the sequence, and checks that of a POST.
func (b *bodyStage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	<-b.started
	size, of := b.size, kit.Sequence(b.size)
	fmt.Sscan(r.URL.Query().Get("size"), &size)
	if r.Method == http.MethodPost {
		_, spooled := b.Spooled(b.dir)
		b.spooled.Store(spooled)
		j := &kit.Judge{Sequence: of}
		_, err := io.Copy(j, r.Body)
		fmt.Fprint(w, j.At, err)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(size))
	if _, err := io.Copy(w, of.Reader(size)); err != nil {
		fmt.Println("upstream:", err) // the client will miss something
	}
	b.produced <- struct{}{}
}

// Bodies that no memory could hold pass whole through files, which are gone
// afterwards. Caddy's own memory stays as it was for small ones.
func TestLargeBodies(t *testing.T) {
	b := newBodyStage(t)
	small := b.peak(t)
	b.EachVersion(func(t *testing.T, c *http.Client, url string) {
		size := b.size
		if t.Name() == "TestLargeBodies/h3" {
			size /= 4 // it is several times slower
		}
		url = fmt.Sprintf("%s/?size=%d", url, size)
		b.upload(t, c, url, size)
		b.download(t, c, url, size)
		testkit.Eventually(t, func() bool {
			files, _ := b.Spooled(b.dir)
			return files == 0
		})
	})
	b.judgeMemory(t, small)
}

// upload sends a body, which must be in a file, whole, before the upstream gets
// the request.
func (b *bodyStage) upload(t *testing.T, c *http.Client, url string, size int64) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, kit.Sequence(b.size).Reader(size))
	req.ContentLength = size
	res, answer := site.Do(t, c, req)
	if want := fmt.Sprint(size, error(nil)); res.StatusCode != 200 || answer != want {
		t.Errorf("the upload got %d %q, want %q", res.StatusCode, answer, want)
	}
	if spooled := b.spooled.Load(); spooled < size-256<<10 || spooled > size {
		t.Errorf("%d of %d bytes were in a file", spooled, size)
	}
}

// download reads nothing until the upstream is done: the bytes that are not in the
// network's buffers must be in a file by then.
func (b *bodyStage) download(t *testing.T, c *http.Client, url string, size int64) {
	t.Helper()
	const network = 16 << 20 // buffers and windows of both sides
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	<-b.produced
	testkit.Eventually(t, func() bool { // Caddy still reads what the upstream's socket holds
		files, spooled := b.Spooled(b.dir)
		return files == 1 && spooled >= size-network
	})
	j := &kit.Judge{Sequence: kit.Sequence(b.size)}
	if n, err := io.Copy(j, res.Body); err != nil || n != size {
		t.Errorf("the download ended after %d bytes: %v", n, err)
	}
}

// peak returns the most memory that was ever resident.
func (b *bodyStage) peak(t *testing.T) int64 {
	for _, c := range b.Clients() {
		req, _ := http.NewRequest(http.MethodPost, "https://"+b.Addr, kit.Sequence(b.size).Reader(1000))
		if _, answer := site.Do(t, c, req); answer != fmt.Sprint(1000, error(nil)) {
			t.Fatalf("a small upload got %q", answer)
		}
	}
	return b.Memory("VmHWM")
}

// judgeMemory compares the peak with that for small bodies. It allows for the garbage
// between two collections and for the buffers of connections.
func (b *bodyStage) judgeMemory(t *testing.T, small int64) {
	bound := int64(48 << 20)
	if testkit.Race {
		bound *= 5 // it keeps a history of each byte
	}
	grown := b.Memory("VmHWM") - small
	t.Attr("memory", fmt.Sprintf("bodies of %s: %s resident at most, %s more than for small ones, allowed %s",
		humanize.IBytes(uint64(b.size)), humanize.IBytes(uint64(small+grown)), humanize.IBytes(uint64(grown)), humanize.IBytes(uint64(bound))))
	if grown > bound {
		t.Errorf("%s more memory than for small bodies", humanize.IBytes(uint64(grown)))
	}
}
