package disk

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// diskStage is a Caddy in a separate process, whose spool has faults.
type diskStage struct {
	*site.Process
	dir string
}

// diskRoute takes little in memory, so that all but small bodies need a file. A
// failure of the backend would show at once.
const diskRoute = `
	respond /state "{http.offload.in_flight}"
	offload {
		name disk
		concurrency 2
		request_spool 64KiB 64MiB
		response_spool 64KiB 64MiB
		breaker {
			consecutive_failures 1
		}
	}
	reverse_proxy UPSTREAM`

const (
	smallBody = 20 << 10 // fits into memory
	largeBody = 16 << 20 // does not, and not into a network's buffers either
)

func newDiskStage(t *testing.T, dir string, limits site.Limits) *diskStage {
	return &diskStage{
		Process: site.Start(t, http.HandlerFunc(sequences), diskGlobal(dir), diskRoute, limits),
		dir:     dir,
	}
}

func diskGlobal(dir string) string {
	return "offload {\n\t\tproxy_status_name edge\n\t\tspool {\n\t\t\tdir " + dir + "\n\t\t}\n\t}"
}

// sequences answers a GET with a sequence of the requested size, and a POST with the
// length of the sequence that it got.
func sequences(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		j := new(kit.Judge)
		_, err := io.Copy(j, r.Body)
		fmt.Fprint(w, j.At, err)
		return
	}
	var size int64
	fmt.Sscan(r.URL.Query().Get("size"), &size)
	_, _ = io.Copy(w, kit.Sequence(0).Reader(size)) // the client notices missing bytes
}

// upload sends that much of a sequence and returns the answer.
func (d *diskStage) upload(t *testing.T, c *http.Client, url string, size int64) (*http.Response, string) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, kit.Sequence(0).Reader(size))
	return site.Do(t, c, req)
}

// works uploads and expects that all arrives.
func (d *diskStage) works(t *testing.T, c *http.Client, url string, size int64) {
	t.Helper()
	if res, answer := d.upload(t, c, url, size); res.StatusCode != 200 || answer != fmt.Sprint(size, error(nil)) {
		t.Errorf("an upload of %d bytes got %d %q", size, res.StatusCode, answer)
	}
}

// refuses uploads too much and expects a rejection.
func (d *diskStage) refuses(t *testing.T, c *http.Client, url string) {
	t.Helper()
	res, answer := d.upload(t, c, url, largeBody)
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" ||
		res.Header.Get("Proxy-Status") != `edge;error=proxy_internal_error;details="spool_full"` {
		t.Errorf("a large upload got %d %q, %v", res.StatusCode, answer, res.Header)
	}
}

// atRest waits until nothing waits or runs and no spool file is open.
func (d *diskStage) atRest(t *testing.T) {
	t.Helper()
	c := d.Clients()["h1"]
	testkit.Eventually(t, func() bool {
		files, _ := d.Spooled(d.dir)
		_, state := site.Get(t, c, "https://"+d.Addr+"/state")
		return files == 0 && state == "1" // this request itself
	})
}
