package celery_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// spooled returns the size of spooled request bodies by the admin endpoint at addr.
func spooled(t *testing.T, addr string) (memory, disk int64) {
	t.Helper()
	_, text := site.Get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://"+addr+"/offload/spool")
	var answer struct {
		Requests struct {
			Memory int64 `json:"memory_bytes"`
			Disk   int64 `json:"disk_bytes"`
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Requests.Memory, answer.Requests.Disk
}

// serveTight runs a site whose spools have a small budget. Request bodies may use half of it.
func (l *lab) serveTight(words string) (s *site.Site, admin string) {
	l.t.Helper()
	admin = site.FreeAddr(l.t)
	s = site.ServeGlobal(l.t, nil, "admin "+admin+"\noffload {\nspool {\nmemory 4MiB\ndisk 8MiB\n}\n}", l.directive(words))
	return s, admin
}

// Bodies for tasks count against the budget of the process, with or without a pool in front.
// Those beyond it are rejected, and accepted ones are served.
func TestBodiesAreOfTheBudget(t *testing.T) {
	const size, sent = 500_000, 450_000
	l := newLab(t)
	l.work(4, func(m *celery.Message) [][]byte {
		args, _ := bodyOf(t, m)
		return [][]byte{celerytest.Succeed(m, strconv.Itoa(len(args)))}
	})
	s, admin := l.serveTight("task lab.echo\nargs_from raw")
	s.EachVersion(func(t *testing.T, _ *http.Client, url string) {
		_, version, _ := strings.Cut(t.Name(), "/")
		answers, ends := make(chan string, 20), make([]func(), 0, 20)
		for range 20 {
			body, writer := io.Pipe()
			req := request(t, http.MethodPost, url, "")
			req.Body, req.ContentLength = body, size
			go writer.Write([]byte(strings.Repeat("x", sent)))
			ends = append(ends, func() {
				io.WriteString(writer, strings.Repeat("y", size-sent))
				writer.Close()
			})
			go func() {
				res, err := s.Clients()[version].Do(req)
				if err != nil {
					answers <- err.Error()
					return
				}
				defer res.Body.Close()
				text, _ := io.ReadAll(res.Body)
				answers <- fmt.Sprint(res.StatusCode, " ", res.Header.Get("Retry-After") != "", " ", string(text))
			}()
		}
		if first := <-answers; !strings.HasPrefix(first, "503 true ") || !strings.Contains(first, `"reason":"spool_full"`) {
			t.Errorf("what is too much got %s", first)
		}
		if memory, disk := spooled(t, admin); memory > 2<<20 || disk > 4<<20 || memory+disk < 1<<20 {
			t.Errorf("%d bytes are kept in memory and %d on disk", memory, disk)
		}
		served := 0
		for _, end := range ends {
			go end()
		}
		for range len(ends) - 1 {
			if <-answers == fmt.Sprint("200 false ", size+4) { // brackets and quotes
				served++
			}
		}
		if served < 4 {
			t.Errorf("%d were served", served)
		}
		testkit.Eventually(t, func() bool {
			memory, disk := spooled(t, admin)
			return memory+disk == 0
		})
	})
}

// A task that was sent no longer needs its arguments: a thousand requests that wait for
// results keep no bodies.
func TestWaitingRequestsKeepNoBodies(t *testing.T) {
	l := newLab(t)
	l.work(0, nil)
	s, admin := l.serveTight("task lab.echo\nargs_from raw\nprogress off")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		answered := make(chan int)
		for range 10 {
			go func() {
				res, _ := site.Do(t, c, request(t, http.MethodPost, url, strings.Repeat("x", 250_000)))
				answered <- res.StatusCode
			}()
		}
		var all []*celery.Message
		for range 10 { // more at once than there is room for
			all = append(all, l.take())
		}
		testkit.Eventually(t, func() bool {
			memory, disk := spooled(t, admin)
			return memory+disk == 0
		})
		for _, m := range all {
			l.report(m, celerytest.Succeed(m, "1"))
		}
		for range all {
			if status := <-answered; status != 200 {
				t.Errorf("got %d", status)
			}
		}
	})
}
