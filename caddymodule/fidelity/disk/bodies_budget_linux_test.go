package disk

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Clients that do not read may use up the budget for the responses of one address, which
// is two thirds of the half for responses. Clients that read still get whole responses,
// at their own pace.
func TestSpentBudgetCutsNobody(t *testing.T) {
	d := &diskStage{dir: t.TempDir()}
	d.Process = site.Start(t, http.HandlerFunc(sequences), `
	offload {
		spool {
			dir `+d.dir+`
			memory 512KiB
			disk 512KiB
		}
	}`, `
	respond /state "{http.offload.in_flight}"
	offload {
		name budget
		concurrency 8
		stall_timeout 2s
		breaker off
	}
	reverse_proxy UPSTREAM`, site.Limits{})
	d.EachVersion(func(t *testing.T, c *http.Client, url string) {
		var idle []*http.Response
		for range 3 {
			own := d.Clients()[version(t)] // one connection has only so much window
			res, err := own.Get(fmt.Sprintf("%s/?size=%d", url, 4*largeBody))
			if err != nil {
				t.Fatal(err)
			}
			idle = append(idle, res)
		}
		testkit.Eventually(t, func() bool {
			_, spooled := d.Spooled(d.dir)
			return spooled >= 128<<10 // first blocks may have some more
		})
		for range 3 {
			if n, err := d.download(t, c, url, largeBody); n != largeBody || err != nil {
				t.Errorf("a download ended after %d bytes: %v", n, err)
			}
		}
		for _, res := range idle {
			res.Body.Close()
		}
		d.atRest(t)
	})
}
