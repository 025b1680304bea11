//go:build integration

package backends

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// newcomer is a set-up by an operator who has only read the README.
type newcomer struct {
	backend
	kind    string
	path    string
	workers int
}

var newcomers = []newcomer{
	{backend: backend{name: "FastAPI", args: "uvicorn --log-level warning --port PORT fastapi_app:app", root: "/async"}, kind: "fastapi", path: "block"},
	{backend: backend{name: "Node", args: "node node_app.js PORT"}, kind: "node", path: "block"},
	{backend: backend{name: "gunicorn", args: "gunicorn --workers WORKERS --bind ADDR wsgi_app:app"}, kind: "gunicorn", path: "hold", workers: 4},
	{backend: backend{name: "PHP-FPM", php: true}, kind: "php", path: "hold", workers: 5},
}

// few are clients that a pool of one permit serves in their order, however slow the
// machine makes their runs: more of them would wait too long for that.
const few = 5

// overtaken is the least wait of a fast request if a second run comes before it. A request
// that waits for one run is faster, also on a busy machine.
const overtaken = 2 * blocking

// reverseProxy matches the part that php_fastcgi replaces, to the end of the site.
var reverseProxy = regexp.MustCompile(`(?s)\treverse_proxy .*`)

// readme is the first Caddyfile of the README.
func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n```caddyfile\n")
	block, _, _ := strings.Cut(rest, "```")
	return block
}

// A user who copies the first lines of the README, or names the server, protects the
// fast route: it waits for one blocking run at most, and never longer than without.
func TestNewcomersAreProtected(t *testing.T) {
	for _, n := range newcomers {
		t.Run(n.name, func(t *testing.T) {
			s := begin(t, n.backend, start{workers: n.workers})
			block := readme(t)
			if n.php {
				block = reverseProxy.ReplaceAllLiteralString(block, "\troot * /srv/www\n\tphp_fastcgi 127.0.0.1:9000\n}\n")
			}
			site := siteOf(t, block, s, n.path)
			p := startProxy(t, s, "\thandle_path /readme/* {\n"+site+"\t}\n")
			sidecar := startSidecar(t, s, n.kind, n.backend.root+"/"+n.path+"*") + n.backend.root
			without := load(t, "http://"+p.addr, n.path, few)
			for name, url := range map[string]string{"README": "http://" + p.addr + "/readme", "--backend": sidecar} {
				with := n.best(t, url)
				t.Logf("%s: p99 of the fast route %v with %s, %v without: %.2f times", n.name, with, name, without, with.Seconds()/without.Seconds())
				if with >= overtaken {
					t.Errorf("%s: with %s it waits %v, for runs of %v", n.name, name, with, blocking)
				}
				if with > without+blocking/4 {
					t.Errorf("%s: with %s it waits %v, without %v", n.name, name, with, without)
				}
			}
		})
	}
}

// best is what the fast route takes when the machine has nothing better to do: where one
// try in three is good, the others were disturbed.
func (n newcomer) best(t *testing.T, url string) time.Duration {
	t.Helper()
	best := load(t, url, n.path, few)
	for try := 1; try < 3 && best >= overtaken; try++ {
		best = min(best, load(t, url, n.path, few))
	}
	return best
}
