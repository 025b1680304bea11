//go:build integration

package backends

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
)

// proxy is a Caddy in front of a backend.
type proxy struct {
	t     *testing.T
	addr  string
	admin string
	http  *http.Client // for the admin endpoint
}

// pool has one option more than all others, that of its scenario.
const pool = `	handle_path /%[1]s/* {
		offload {
			name %[1]s
			concurrency %[2]d
			queue 100
			max_wait 5m
			order fifo
			breaker off
			%[3]s
		}
		%[4]s
	}
`

// pools are routes with a pool for each scenario.
func pools(s *served, limit int, scenarios []scenario) string {
	var b strings.Builder
	for _, one := range scenarios {
		fmt.Fprintf(&b, pool, one.name, limit, one.words, s.handler())
	}
	return b.String()
}

// startProxy starts one with routes, and one more that leads straight to the backend.
func startProxy(t *testing.T, s *served, routes string) *proxy {
	t.Helper()
	port := lab.Port(t)
	p := &proxy{t, services.Loopback + ":" + port, services.Loopback + ":" + lab.Port(t), &http.Client{Transport: new(http.Transport), Timeout: time.Minute}}
	t.Cleanup(p.http.CloseIdleConnections)
	var b strings.Builder
	fmt.Fprintf(&b, "{\n\tadmin %s\n\tpersist_config off\n}\nhttp://:%s {\n\tbind %s\n", p.admin, port, services.Loopback)
	b.WriteString(routes)
	fmt.Fprintf(&b, "\thandle {\n\t\t%s\n\t}\n}\n", s.handler())
	folder := t.TempDir()
	config := filepath.Join(folder, "Caddyfile")
	if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	err := run(t, services.Program{
		Name: "Caddy", Args: []string{os.Args[0], "run", "--config", config, "--adapter", "caddyfile"}, Log: filepath.Join(folder, "log"),
		Env: []string{asCaddy + "=1", "XDG_DATA_HOME=" + folder, "XDG_CONFIG_HOME=" + folder},
	}, p.addr)
	if err != nil {
		t.Fatal(err)
	}
	// A server that listens may still be loading its application.
	p.eventually("the backend answers", func() bool { return p.fast() == http.StatusOK })
	return p
}

// fast is the status of the route that waits for nothing, zero without an answer.
func (p *proxy) fast() int {
	res, err := p.http.Get("http://" + p.addr + "/fast")
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// gauges are the current numbers of a pool.
type gauges struct {
	Running   int `json:"running"`
	Abandoned int `json:"abandoned"`
	Lingering int `json:"lingering"`
	Waiting   int `json:"waiting"`
	Upgraded  int `json:"upgraded"`
}

func (p *proxy) gauges(name string) (g gauges) {
	p.t.Helper()
	p.ask(http.MethodGet, "/offload/pools/"+name, &g)
	return g
}

// request is one that an operator sees.
type request struct {
	ID        string        `json:"id"`
	Phase     string        `json:"phase"`
	Abandoned bool          `json:"abandoned"`
	InPhase   time.Duration `json:"in_phase_ns"`
}

// running are the requests that hold a permit.
func (p *proxy) running(name string) []request {
	p.t.Helper()
	var list struct {
		Requests []request `json:"requests"`
	}
	p.ask(http.MethodGet, "/offload/pools/"+name+"/running", &list)
	return list.Requests
}

// cancel ends a request by hand, if it is still there.
func (p *proxy) cancel(id string) (status int) {
	p.t.Helper()
	return p.ask(http.MethodPost, "/offload/requests/"+id+"/cancel", nil)
}

func (p *proxy) ask(method, path string, into any) (status int) {
	p.t.Helper()
	req, err := http.NewRequest(method, "http://"+p.admin+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		p.t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
	return res.StatusCode
}

// eventually waits until a condition holds, for as long as anything here takes.
func (p *proxy) eventually(what string, holds func() bool) {
	p.t.Helper()
	if !testkit.Poll(time.Minute, holds) {
		p.t.Fatalf("not within a minute: %s", what)
	}
}
