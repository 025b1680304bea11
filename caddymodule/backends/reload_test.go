//go:build integration

package backends

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// play has clients come, does something when the pool is full, and returns the answers.
func (p *proxy) play(name string, clients []client, full gauges, then func()) []answer {
	p.t.Helper()
	done := make(chan []answer, 1)
	go func() { done <- askAll(p, name, clients, 10*time.Millisecond) }()
	p.eventually("the pool is full", func() bool { return p.gauges(name) == full })
	then()
	return <-done
}

// A reload of gunicorn ends no request.
func TestReloadOfGunicorn(t *testing.T) {
	for _, class := range []string{"sync", "gthread"} {
		t.Run(class, func(t *testing.T) {
			s := begin(t, backend{name: class, args: "gunicorn --pid FOLDER/pid --workers 2 --worker-class " + class + " --bind ADDR wsgi_app:app"}, start{})
			p := startProxy(t, s, s.route("two", 2))
			answers := p.play("two", holding(6, 1.5), gauges{Running: 2, Waiting: 4}, func() { s.signal(t, syscall.SIGHUP) })
			if count(answers, http.StatusOK) != len(answers) {
				t.Errorf("got %v", answers)
			}
		})
	}
}

// A reload of PHP-FPM cuts requests that run, and may cut those that come just then. A pool
// that is paused from before until after it loses none.
func TestReloadOfPHPFPM(t *testing.T) {
	s := begin(t, backend{name: "PHP-FPM", php: true}, start{workers: 3})
	p := startProxy(t, s, s.route("two", 2))
	full := gauges{Running: 2, Waiting: 4}
	// The first two still run when the reload comes, however late a busy machine sees them.
	answers := p.play("two", append(holding(2, 20), holding(4, 1)...), full, func() {
		p.eventually("both runs have begun", func() bool {
			_, now, _ := s.journal.inside(t, "two")
			return now == 2
		})
		s.reloadPHP(t)
	})
	if count(answers, http.StatusBadGateway) == 0 {
		t.Errorf("at once: got %v", answers)
	}
	answers = p.play("two", holding(6, 2), full, func() {
		p.ask(http.MethodPost, "/offload/pools/two/pause", nil)
		p.eventually("the runs have ended", func() bool { return p.gauges("two").Running == 0 })
		s.reloadPHP(t)
		p.ask(http.MethodPost, "/offload/pools/two/resume", nil)
	})
	if count(answers, http.StatusOK) != len(answers) {
		t.Errorf("after a pause: got %v", answers)
	}
}

// reloadPHP returns when PHP-FPM reports the end of the reload, as systemctl does.
func (s *served) reloadPHP(t *testing.T) {
	t.Helper()
	before := s.starts(t)
	s.signal(t, syscall.SIGUSR2)
	if !testkit.Poll(patience, func() bool { return s.starts(t) != before }) {
		t.Fatal("PHP-FPM does not come back")
	}
}

// starts is how often PHP-FPM has become ready.
func (s *served) starts(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.folder, "fpm.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "ready to handle connections")
}
