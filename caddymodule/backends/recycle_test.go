//go:build integration

package backends

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/backends/measured"
)

// posts are how many requests workers get that end after ten, each at once by so many
// clients.
const (
	posts   = 160
	clients = 8
)

// recycle sends requests that a proxy must not repeat to workers that end.
func recycle(t *testing.T, d direct) *measured.Recycled {
	t.Helper()
	return &measured.Recycled{Sent: posts, Lost: lost(t, d, false), LostFresh: lost(t, d, true)}
}

// lost counts the requests that were not served.
func lost(t *testing.T, d direct, fresh bool) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableKeepAlives: fresh}, Timeout: patience}
	defer client.CloseIdleConnections()
	var failed atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range posts / clients {
				if err := post(client, "http://"+d.addr+d.root+"/fast"); err != nil {
					failed.Add(1)
					t.Log(err)
				}
			}
		})
	}
	all.Wait()
	return int(failed.Load())
}

func post(client *http.Client, url string) error {
	res, err := client.Post(url, "text/plain", strings.NewReader("x"))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err = io.Copy(io.Discard, res.Body); err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return err
}
