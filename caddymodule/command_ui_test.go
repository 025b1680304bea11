//go:build unix

package caddymodule_test

import (
	"bufio"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// startUI runs "caddy offload ui" for an operator's server, and returns the URL that it
// prints. It must end well on SIGTERM.
func startUI(t *testing.T, o *operator, args ...string) (address string) {
	t.Helper()
	usual := caddyCommand(t, append([]string{"offload", "ui", "--address", o.addr}, args...)...)
	cmd := exec.Command(usual.Path, usual.Args[1:]...) // not killed at the end of the test
	cmd.Dir, cmd.Env = usual.Dir, usual.Env
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ends with %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

const uiSite = `
offload {
	name reports
	concurrency 3
}
reverse_proxy UPSTREAM`

func TestUIShowsTheServerOfAnAdminEndpoint(t *testing.T) {
	_, o := serveOperated(t, http.HandlerFunc(blocking), uiSite)
	address := startUI(t, o)
	if !regexp.MustCompile(`^http://127\.0\.0\.1:\d+/$`).MatchString(address) {
		t.Fatalf("it prints %q", address)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if _, text := site.Get(t, c, address); !strings.Contains(text, `data-f="running">0 / 3<`) {
		t.Errorf("the page is %s", text)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"?events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), `"name":"reports"`) {
	}
	if lines.Err() != nil {
		t.Error(lines.Err())
	}
	form := url.Values{"action": {"pause"}, "pool": {"reports"}}
	if res, text := postUI(t, c, address, form); res.StatusCode != http.StatusForbidden || !strings.Contains(text, "--actions") {
		t.Errorf("an action: got %d %s", res.StatusCode, text)
	}
}

// postUI sends a form as a page of the same address does.
func postUI(t *testing.T, c *http.Client, address string, form url.Values) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", strings.TrimSuffix(address, "/"))
	return site.Do(t, c, req)
}

func TestUIActsWhereThatIsAllowed(t *testing.T) {
	_, o := serveOperated(t, http.HandlerFunc(blocking), uiSite)
	address := startUI(t, o, "--actions")
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	_, page := site.Get(t, c, address+"?pool=reports")
	_, rest, _ := strings.Cut(page, `name="token" value="`)
	token, _, _ := strings.Cut(rest, `"`)
	form := url.Values{"action": {"pause"}, "pool": {"reports"}, "token": {token}}
	if res, text := postUI(t, c, address, form); res.StatusCode != http.StatusSeeOther {
		t.Errorf("got %d %s", res.StatusCode, text)
	}
	if phase := o.get("pools/{name}", "reports")["phase"]; phase != "paused" {
		t.Errorf("the pool is %s", phase)
	}
	form.Set("pool", "report")
	if res, text := postUI(t, c, address, form); res.StatusCode != http.StatusBadRequest || !strings.Contains(text, "no pool 'report'") {
		t.Errorf("got %d %s", res.StatusCode, text)
	}
}

// A foreign site can give its own name the address of this machine.
func TestUIServesNoOtherHost(t *testing.T) {
	_, o := serveOperated(t, http.HandlerFunc(blocking), uiSite)
	address := startUI(t, o)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for host, want := range map[string]int{
		"evil.test": 421, "evil.test:80": 421, "127.0.0.1.evil.test": 421, "192.0.2.1": 421, "": 200,
		"localhost": 200, "localhost:1234": 200, "[::1]:80": 200, "127.0.0.1": 200,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		if res, _ := site.Do(t, c, req); res.StatusCode != want {
			t.Errorf("%q: got %d, want %d", host, res.StatusCode, want)
		}
	}
}

func TestUIListensOnLoopbackOnly(t *testing.T) {
	for listen, want := range map[string]string{
		"0.0.0.0:0":      "only loopback addresses are allowed",
		":8080":          "only loopback addresses are allowed",
		"192.0.2.1:8080": "only loopback addresses are allowed",
		"[::]:8080":      "only loopback addresses are allowed",
		"example.com:80": "only loopback addresses are allowed",
		"127.0.0.1":      "want a loopback address with a port",
		"8080":           "want a loopback address with a port",
	} {
		if got := command(t, "ui", "--listen", listen); got.code != 1 || !strings.Contains(got.err, want) {
			t.Errorf("%s: exit code %d, %s", listen, got.code, got.err)
		}
	}
}

func TestUINeedsAServer(t *testing.T) {
	if got := command(t, "ui", "--address", site.FreeAddr(t)); got.code != 1 || !strings.Contains(got.err, "no server answers") {
		t.Errorf("exit code %d, %s", got.code, got.err)
	}
}

// A configuration without pools is shown as one.
func TestUIFollowsReloads(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), uiSite)
	address := startUI(t, o)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	site.Get(t, c, address)
	s.Load("respond ok")
	testkit.Eventually(t, func() bool {
		_, text := site.Get(t, c, address)
		return strings.Contains(text, "There are no pools")
	})
}
