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

// newIdleStage is a Caddy that loses patience soon with clients that neither read
// nor send.
func newIdleStage(t *testing.T) *diskStage {
	d := &diskStage{dir: t.TempDir()}
	d.Process = site.Start(t, http.HandlerFunc(sequences), diskGlobal(d.dir)+`
	servers {
		protocols h1 h2 h2c h3
		timeouts {
			read_body_idle 1s
			write_idle 1s
		}
	}`, diskRoute, site.Limits{})
	return d
}

// The spool of a client that does not read is released with its connection, and the part
// of the response that the client has by then does not look complete.
func TestClientsThatNeverReadLoseTheirSpool(t *testing.T) {
	d := newIdleStage(t)
	d.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(fmt.Sprintf("%s/?size=%d", url, 2*largeBody))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		d.atRest(t)
		kit.WantCut(t, res.Body)
		d.works(t, c, url, smallBody)
	})
}

// An upload that stops in the middle is ended, and none of it is kept. Its client gets a
// response.
func TestUploadsThatStopLoseTheirSpool(t *testing.T) {
	d := newIdleStage(t)
	d.EachVersion(func(t *testing.T, c *http.Client, url string) {
		body, writer := io.Pipe()
		ended := make(chan string, 1)
		go func() {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
			res, err := c.Do(req)
			if err != nil {
				ended <- err.Error()
				return
			}
			res.Body.Close()
			ended <- res.Status
		}()
		_, _ = io.CopyN(writer, kit.Sequence(0).Reader(largeBody), largeBody/2)
		testkit.Eventually(t, func() bool {
			files, _ := d.Spooled(d.dir)
			return files == 1
		})
		if got := <-ended; got != "408 Request Timeout" {
			t.Errorf("the upload got %s", got)
		}
		writer.Close()
		d.atRest(t)
		d.works(t, c, url, smallBody)
	})
}
