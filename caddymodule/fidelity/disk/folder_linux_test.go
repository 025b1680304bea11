package disk

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A spool folder that cannot be used is reported at load. Bodies that need it stay in
// memory while there is room, and are rejected after that, without harm to others.
func TestFoldersThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{ // not even root can make a file in /sys
		"nobody may make it":     "/sys/offload/spool",
		"nobody may write in it": "/sys",
		"it is a file":           file,
		"it is below a file":     filepath.Join(file, "spool"),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDiskStage(t, dir+"\nmemory 16MiB", site.Limits{})
			d.dir = dir
			d.wantWarning(t)
			for version, c := range d.Clients() {
				url := "https://" + d.Addr
				d.refuses(t, c, url)
				d.works(t, c, url, smallBody)
				d.works(t, c, url, 4<<20)
				if n, err := d.download(t, c, url, largeBody); n != largeBody || err != nil {
					t.Errorf("%s: a download ended after %d bytes, %v", version, n, err)
				}
			}
			d.wantLog(t, `"dir":"`+dir+`"`)
			d.atRest(t)
		})
	}
}

// wantWarning checks that the log of the start names the folder and the cure.
func (d *diskStage) wantWarning(t *testing.T) {
	t.Helper()
	for _, line := range d.Log() {
		if text, _ := line["msg"].(string); line["level"] == "warn" && strings.HasPrefix(text, "the spool folder cannot be used") {
			if hint, _ := line["hint"].(string); line["dir"] != d.dir || line["error"] == nil || hint == "" {
				t.Errorf("the warning is %v", line)
			}
			return
		}
	}
	t.Error("nothing warns of the folder")
}

// download reads a sequence as fast as it can.
func (d *diskStage) download(t *testing.T, c *http.Client, url string, size int64) (int64, error) {
	t.Helper()
	res, err := c.Get(fmt.Sprintf("%s/?size=%d", url, size))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return io.Copy(new(kit.Judge), res.Body)
}

// A folder that can be used, or made, is no reason for a warning.
func TestFolderThatCanBeUsed(t *testing.T) {
	d := newDiskStage(t, filepath.Join(t.TempDir(), "not", "yet"), site.Limits{})
	for _, line := range d.Log() {
		if text, _ := line["msg"].(string); strings.Contains(text, "spool folder") {
			t.Errorf("logged %v", line)
		}
	}
	if _, err := os.Stat(filepath.Dir(d.dir)); err == nil {
		t.Error("the folder is there before it is needed")
	}
}

// The folder is created when it is needed, for this user alone, and again after it was
// removed. Bodies that were in it at that time stay whole.
func TestFolderThatIsRemoved(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "not", "yet")
	d := newDiskStage(t, filepath.Join(parent, "there"), site.Limits{})
	d.EachVersion(func(t *testing.T, c *http.Client, url string) {
		body, writer := io.Pipe()
		answer := make(chan string, 1)
		go func() {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
			_, text := site.Do(t, c, req)
			answer <- text
		}()
		rest := kit.Sequence(0).Reader(largeBody)
		_, _ = io.CopyN(writer, rest, largeBody/2)
		d.wantFolder(t)
		if err := os.RemoveAll(parent); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(writer, rest)
		writer.Close()
		if got, want := <-answer, fmt.Sprint(largeBody, error(nil)); got != want {
			t.Errorf("the upload got %q, want %q", got, want)
		}
		d.works(t, c, url, largeBody)
		d.wantFolder(t)
		d.atRest(t)
	})
}

// wantFolder waits until the folder exists. No other user may have access.
func (d *diskStage) wantFolder(t *testing.T) {
	t.Helper()
	var info fs.FileInfo
	testkit.Eventually(t, func() (there bool) {
		var err error
		info, err = os.Stat(d.dir)
		return err == nil
	})
	if info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("the folder has mode %v", info.Mode())
	}
}

// A spool of a file alone has no place for a body when the file fails and there is no
// memory: uploads are rejected, and responses go at the pace of their clients.
func TestSpoolsOfAFileAlone(t *testing.T) {
	const route = `
	respond /state "{http.offload.in_flight}"
	offload {
		name file-alone
		request_spool 0 64MiB
		response_spool 0 64MiB
		breaker {
			consecutive_failures 1
		}
	}
	reverse_proxy UPSTREAM`
	d := &diskStage{dir: "/sys/offload"}
	d.Process = site.Start(t, http.HandlerFunc(sequences), diskGlobal(d.dir+"\nmemory 1MiB"), route, site.Limits{})
	d.EachVersion(func(t *testing.T, c *http.Client, url string) {
		for range 3 {
			d.refuses(t, c, url)
			if n, err := d.download(t, c, url, largeBody); n != largeBody || err != nil {
				t.Errorf("a download ended after %d bytes: %v", n, err)
			}
		}
		d.atRest(t)
	})
}
