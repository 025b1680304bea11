package disk

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A process that is killed in the middle of spooled bodies leaves nothing in the
// folder, and its successor works.
func TestKilledProcessLeavesNoFiles(t *testing.T) {
	d := newDiskStage(t, t.TempDir(), site.Limits{})
	d.EachVersion(func(t *testing.T, c *http.Client, url string) {
		if h3, ok := c.Transport.(*http3.Transport); ok { // it cannot distinguish a dead server from a slow one
			h3.QUICConfig = &quic.Config{MaxIdleTimeout: 2 * time.Second}
		}
		uploaded := make(chan error, 1)
		body, writer := io.Pipe()
		go func() {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
			res, err := c.Do(req)
			if err == nil {
				res.Body.Close()
				err = fmt.Errorf("status %d", res.StatusCode)
			}
			uploaded <- err
		}()
		_, _ = io.CopyN(writer, kit.Sequence(0).Reader(largeBody), largeBody/2)
		res, err := c.Get(fmt.Sprintf("%s/?size=%d", url, largeBody))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		testkit.Eventually(t, func() bool {
			files, _ := d.Spooled(d.dir)
			return files == 2
		})
		d.Kill()
		d.wantNames(t)
		writer.CloseWithError(io.ErrClosedPipe)
		if err := <-uploaded; err == nil {
			t.Error("the upload got an answer")
		}
		kit.WantCut(t, res.Body)
		d.Run()
		d.works(t, d.Clients()[version(t)], url, largeBody)
		d.atRest(t)
		d.wantNames(t)
	})
}

// version is the last part of a sub-test's name.
func version(t *testing.T) string { return filepath.Base(t.Name()) }

// Files that a crash leaves, on a system that cannot remove open files, are removed when
// Caddy starts. Other files in the folder stay.
func TestStartRemovesWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	mine, others := []string{"offload-1.spool", "offload-2.spool"}, []string{"offload-notes.txt", "other.spool", "picture"}
	for _, name := range slices.Concat(mine, others) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := newDiskStage(t, dir, site.Limits{})
	d.wantNames(t, others...)
	d.works(t, d.Clients()["h1"], "https://"+d.Addr, largeBody)
	d.wantNames(t, others...)
}

// wantNames checks which files have a name in the folder.
func (d *diskStage) wantNames(t *testing.T, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("the folder has %q, want %q", names, want)
	}
}
