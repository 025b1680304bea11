package celery_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// documented are requests for Caddyfiles with celery, by a text in the Caddyfile, with a part of
// the response. The first match counts. Tasks return their name and arguments.
var documented = []struct{ in, method, target, want string }{
	{"\tflower\n", "POST", "/api/task/apply/lab.add", `"result":"lab.add [] {}"`},
	{"task {path.1}", "POST", "/tasks/lab.add?a=1", `"lab.add [] {\"a\":\"1\"}"`},
	{"task reports.render", "GET", "/render/42", `"reports.render [42] {}"`},
}

// requestFor returns a request for a Caddyfile and a part of its response. Without celery, the
// request goes to the first route with offload, whose upstream returns the path.
func requestFor(t *testing.T, block string) (method, target, want string) {
	t.Helper()
	for _, d := range documented {
		if strings.Contains(block, d.in) {
			return d.method, d.target, d.want
		}
	}
	if strings.Contains(block, "celery") {
		t.Fatalf("there is no request for\n%s", block)
	}
	target = "/"
	if match := regexp.MustCompile(`offload (/\S*/)\*`).FindStringSubmatch(block); match != nil {
		target = match[1] + "1"
	}
	return http.MethodGet, target, "upstream " + target
}

// Each Caddyfile in these pages works.
func TestDocumentedCaddyfiles(t *testing.T) {
	for _, page := range []string{"README.md", "docs/celery.md"} {
		for i, block := range caddyfiles(t, page) {
			t.Run(fmt.Sprintf("%s %d", filepath.Base(page), i+1), func(t *testing.T) {
				method, target, want := requestFor(t, block)
				l := newLab(t)
				l.documentedWorker()
				global, body := l.adapted(block)
				s := site.ServeGlobal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprintf(w, "upstream %s", r.URL.Path)
				}), global, body)
				s.EachVersion(func(t *testing.T, c *http.Client, url string) {
					res, body := site.Do(t, c, request(t, method, url+target, ""))
					if res.StatusCode != 200 || !strings.Contains(body, want) {
						t.Errorf("%s %s: got %d %s, want %s", method, target, res.StatusCode, body, want)
					}
				})
			})
		}
	}
}

// caddyfiles returns the complete Caddyfiles of a page.
func caddyfiles(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, match := range regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, match[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no Caddyfile", page)
	}
	return blocks
}

// documentedWorker starts a worker with the tasks and queues of the documentation.
func (l *lab) documentedWorker() {
	l.t.Helper()
	l.worker(func(c celery.Command) string {
		return map[string]string{
			"ping": `{"ok": "pong"}`, "registered": `["lab.add", "reports.render"]`, "active_queues": `[{"name": "celery"}]`,
		}[c.Method]
	})
	l.busy.Go(func() {
		_ = celerytest.Work(l.ctx, l.Memory, "celery", func(m *celery.Message) [][]byte {
			args, kwargs := bodyOf(l.t, m)
			return [][]byte{celerytest.Succeed(m, fmt.Sprintf("%q", fmt.Sprintf("%s %s %s", m.Headers["task"], args, kwargs)))}
		})
	})
}

// adapted returns the global options and the body of the only site of a Caddyfile, with the
// servers of the lab.
func (l *lab) adapted(text string) (global, body string) {
	l.t.Helper()
	text = regexp.MustCompile(`(?m)^(\s+(?:broker|backend)) \S+$`).ReplaceAllString(text, "$1 memory://"+l.name)
	text = regexp.MustCompile(`(?m)^(\s+reverse_proxy)(?: [\w.-]+:\d+)+`).ReplaceAllString(text, "$1 UPSTREAM")
	for _, match := range regexp.MustCompile(`(?ms)^(\S*) ?\{$(.*?)^\}$`).FindAllStringSubmatch(text, -1) {
		switch {
		case match[1] == "":
			global = match[2]
		case body == "":
			body = match[2]
		default:
			l.t.Fatalf("more than one site:\n%s", text)
		}
	}
	return global, body
}
