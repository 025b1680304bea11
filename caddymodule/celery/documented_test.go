package celery_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celerytest"
)

// documented are requests for each Caddyfile in a page, in its order, and what their
// answers hold. Tasks answer with their name and arguments, and the server behind says
// so.
var documented = map[string][]struct{ method, target, want string }{
	"README.md": {
		{"GET", "/report/1", "upstream /report/1"},
		{"GET", "/export/1", "upstream /export/1"},
		{"GET", "/render/42", `"reports.render [42] {}"`},
	},
	"docs/celery.md": {
		{"GET", "/render/42", `"reports.render [42] {}"`},
		{"GET", "/render/43", `"reports.render [43] {}"`},
		{"POST", "/tasks/lab.add?a=1", `"lab.add [] {\"a\":\"1\"}"`},
		{"POST", "/api/task/apply/lab.add", `"result":"lab.add [] {}"`},
	},
}

// Each Caddyfile in the documentation works as it is written.
func TestDocumentedCaddyfiles(t *testing.T) {
	for page, requests := range documented {
		blocks := caddyfiles(t, page)
		if len(blocks) != len(requests) {
			t.Fatalf("%s has %d Caddyfiles, and there are requests for %d", page, len(blocks), len(requests))
		}
		for i, block := range blocks {
			t.Run(fmt.Sprintf("%s %d", filepath.Base(page), i+1), func(t *testing.T) {
				l := newLab(t)
				l.documentedWorker()
				global, body := l.adapted(block)
				s := site.ServeGlobal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprintf(w, "upstream %s", r.URL.Path)
				}), global, body)
				s.EachVersion(func(t *testing.T, c *http.Client, url string) {
					wanted := requests[i]
					res, body := site.Do(t, c, request(t, wanted.method, url+wanted.target, ""))
					if res.StatusCode != 200 || !strings.Contains(body, wanted.want) {
						t.Errorf("%s %s: got %d %s, want %s", wanted.method, wanted.target, res.StatusCode, body, wanted.want)
					}
				})
			})
		}
	}
}

// caddyfiles are the blocks of a page that are whole Caddyfiles.
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
	return blocks
}

// documentedWorker knows the tasks and queues of the documentation.
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

// adapted is a Caddyfile with the servers of the lab, as global options and the body of
// its only site.
func (l *lab) adapted(text string) (global, body string) {
	l.t.Helper()
	text = regexp.MustCompile(`(?m)^(\s+(?:broker|backend)) \S+$`).ReplaceAllString(text, "$1 memory://"+l.name)
	text = strings.ReplaceAll(text, "127.0.0.1:8000", "UPSTREAM")
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
