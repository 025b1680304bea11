//go:build integration

package backends

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
)

// startSidecar starts "caddy offload run" in front of a backend, configured by the name of
// the backend and the flags in more, and returns its address.
func startSidecar(t *testing.T, s *served, kind, match string, more ...string) (url string) {
	t.Helper()
	addr := services.Loopback + ":" + lab.Port(t)
	args := []string{os.Args[0], "offload", "run", "--admin", "off", "--from", addr, "--to", s.addr, "--backend", kind, "--match", match}
	if s.php {
		args = append(args, "--root", s.root+"/php")
	}
	folder := t.TempDir()
	err := run(t, services.Program{
		Name: "the sidecar", Args: append(args, more...), Log: filepath.Join(folder, "log"),
		Env: []string{asCaddy + "=1", "XDG_DATA_HOME=" + folder, "XDG_CONFIG_HOME=" + folder},
	}, addr)
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + addr
}

// Behind the sidecar for PHP pretty URLs need a permit, and files that are no scripts do
// not, though all paths are matched.
func TestSidecarOfPHPServesFilesWithoutAPermit(t *testing.T) {
	s := begin(t, backend{name: "PHP-FPM", php: true}, start{workers: 3})
	url := startSidecar(t, s, "php", "/*", "--concurrency", "1", "--queue", "0")
	done := make(chan int, 1)
	go func() { done <- status(url + "/pretty/hold?id=one-0&seconds=3") }()
	m := measurement{t: t, j: s.journal}
	m.await("start", "one-0")
	for path, want := range map[string]int{
		"/style.css": http.StatusOK, "/pretty/fast": http.StatusServiceUnavailable, "/index.php/fast": http.StatusServiceUnavailable,
	} {
		if got := status(url + path); got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
	if got := <-done; got != http.StatusOK {
		t.Errorf("the run got %d", got)
	}
	if got := status(url + "/pretty/fast"); got != http.StatusOK {
		t.Errorf("afterwards a pretty URL gets %d", got)
	}
}

// status of a GET, zero without an answer.
func status(url string) int {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get(url)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}
