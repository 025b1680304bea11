package disk

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

const fullAt = 1 << 20

// On a full disk an upload that needs a file is rejected, with a reason in the response
// and in the log. Bodies that fit into memory work as before.
func TestFullDiskRefusesUploads(t *testing.T) {
	d := newDiskStage(t, t.TempDir(), site.Limits{FileSize: fullAt})
	d.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for range 3 {
			d.refuses(t, c, url)
			d.works(t, c, url, smallBody)
			d.works(t, c, url, fullAt) // there is that much room
		}
		d.atRest(t)
	})
	d.wantLog(t, d.dir, "file too large")
}

// On a full disk a response waits for its client in memory, with its permit, and
// arrives whole.
func TestFullDiskSlowsResponses(t *testing.T) {
	d := newDiskStage(t, t.TempDir(), site.Limits{FileSize: fullAt})
	d.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(fmt.Sprintf("%s/?size=%d", url, largeBody))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		testkit.Eventually(t, func() bool { // the disk is full
			_, spooled := d.Spooled(d.dir)
			return spooled == fullAt
		})
		j := new(kit.Judge)
		if _, err := io.Copy(j, res.Body); err != nil || j.At != largeBody {
			t.Errorf("got %d bytes, %v", j.At, err)
		}
		d.atRest(t)
	})
	d.wantLog(t, d.dir, "file too large")
}

// If the client does not read at all, such a response is cut in the end, and looks
// cut.
func TestFullDiskCutsResponsesOfClientsThatStall(t *testing.T) {
	d := newDiskStage(t, t.TempDir(), site.Limits{FileSize: fullAt})
	d.Load(strings.Replace(diskRoute, "name disk", "name disk\n\t\tstall_timeout 200ms", 1))
	d.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(fmt.Sprintf("%s/?size=%d", url, 4*largeBody))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		d.atRest(t)
		kit.WantCut(t, res.Body)
		d.works(t, c, url, smallBody) // nothing of it is the backend's fault
	})
}

// wantLog checks that the log names the folder, the error and the cure.
func (d *diskStage) wantLog(t *testing.T, words ...string) {
	t.Helper()
	var line string
	testkit.Eventually(t, func() bool {
		for line = range strings.Lines(d.Output()) {
			if strings.Contains(line, "could not be spooled") {
				return true
			}
		}
		return false
	})
	for _, word := range append(words, "make room") {
		if !strings.Contains(line, word) {
			t.Errorf("the log does not say %q: %s", word, line)
		}
	}
}
