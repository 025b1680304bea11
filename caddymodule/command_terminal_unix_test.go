//go:build unix

package caddymodule_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// terminal is a command on a terminal.
type terminal struct {
	t     *testing.T
	file  *os.File
	out   *lockedBuffer // all that was written
	ended chan error
	kill  func(os.Signal) error

	mu     sync.Mutex // guards screen
	screen *vt.Emulator
}

// Write shows what the command writes.
func (term *terminal) Write(p []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	_, _ = term.out.Write(p)
	return term.screen.Write(p)
}

// text returns what the screen shows.
func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.String()
}

// onTerminal starts "caddy offload" on a terminal of 80 columns and 24 lines.
func (o *operator) onTerminal(env string, args ...string) *terminal {
	o.t.Helper()
	cmd := caddyCommand(o.t, append(append([]string{"offload"}, args...), "--address", o.addr)...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "COLORTERM=", env)
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		o.t.Fatal(err)
	}
	term := &terminal{t: o.t, file: file, out: new(lockedBuffer), ended: make(chan error, 1), kill: cmd.Process.Signal, screen: vt.NewEmulator(80, 24)}
	copied := make(chan struct{})
	go func() {
		_, _ = io.Copy(term, file) // ends with an error when the command does
		close(copied)
	}()
	go func() { _, _ = io.Copy(file, term.screen) }() // the terminal's answers to questions
	answers := term.screen.InputPipe().(io.Closer)    // Close of the screen has a race with that
	go func() {
		err := cmd.Wait()
		<-copied
		term.ended <- err
	}()
	o.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = file.Close()
		_ = answers.Close()
	})
	return term
}

func (term *terminal) press(keys string) {
	term.t.Helper()
	if _, err := io.WriteString(term.file, keys); err != nil {
		term.t.Fatal(err)
	}
}

// shows waits until the screen has a text.
func (term *terminal) shows(text string) {
	term.t.Helper()
	if !testkit.Poll(10*time.Second, func() bool { return strings.Contains(term.text(), text) }) {
		term.t.Fatalf("no %q in\n%s", text, term.text())
	}
}

const onOnePermit = `
	offload /report/* {
		name reports
		concurrency 1
	}
	reverse_proxy UPSTREAM`

// top on a real terminal: it refreshes, opens a pool, cancels a request, and leaves the
// terminal as it was.
func TestTopOnATerminal(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), onOnePermit)
	c := s.Clients()["h2"]
	holdOne(t, s, c, "/report/hold")
	waiter := ask(t, c, "https://"+s.Addr+"/report/wait")
	o.untilWaiting("reports", 1)
	term := o.onTerminal("CI=", "top", "--interval", "100ms")
	term.shows("1 pool")
	term.shows("s sort by running")
	term.press("s")
	term.shows("by running")
	term.press("\r")
	term.shows("/report/wait")
	term.press("\x1b[B")
	term.press("c")
	term.shows("? y/n")
	term.press("y")
	term.shows("cancelled while it was waiting")
	waiter.want(t, 503)
	term.press("q")
	if err := testkit.Receive(t, term.ended); err != nil {
		t.Errorf("it ends with %v", err)
	}
	got := term.out.String()
	if entered, left := strings.Index(got, "\x1b[?1049h"), strings.LastIndex(got, "\x1b[?1049l"); entered < 0 || left < entered {
		t.Errorf("the screen is not entered and left: %q", got)
	}
}

// A signal and Ctrl-C end top too.
func TestTopEndsBySignals(t *testing.T) {
	_, o := serveOperated(t, nil, "\toffload {\n\t\tname reports\n\t}\n\trespond ok")
	for name, end := range map[string]func(*terminal){
		"Ctrl-C":  func(term *terminal) { term.press("\x03") },
		"SIGTERM": func(term *terminal) { _ = term.kill(syscall.SIGTERM) },
		"SIGINT":  func(term *terminal) { _ = term.kill(syscall.SIGINT) },
	} {
		term := o.onTerminal("CI=", "top")
		term.shows("reports")
		end(term)
		if err := testkit.Receive(t, term.ended); err != nil {
			t.Errorf("%s: it ends with %v and %s", name, err, term.out)
		}
		if !strings.Contains(term.out.String(), "\x1b[?1049l") {
			t.Errorf("%s: the screen is not left", name)
		}
	}
}

// coloured matches a colour of a terminal.
var coloured = regexp.MustCompile("\x1b\\[[0-9;]*3[0-9][0-9;]*m")

// On a terminal states have colours, unless NO_COLOR is set, and tables fit it.
func TestTablesOnATerminal(t *testing.T) {
	_, o := serveOperated(t, nil, onOnePermit[:strings.Index(onOnePermit, "reverse_proxy")]+"respond ok")
	for _, command := range []string{"pools", "top"} {
		for env, want := range map[string]bool{"CI=": true, "NO_COLOR=1": false} {
			term := o.onTerminal(env, command)
			term.shows("reports")
			if command == "top" {
				term.shows("q quit")
				term.press("q")
			}
			if err := testkit.Receive(t, term.ended); err != nil {
				t.Errorf("%s ends with %v", command, err)
			}
			if got := term.out.String(); coloured.MatchString(got) != want {
				t.Errorf("%s with %s: got %q", command, env, got)
			}
			if command == "top" {
				continue
			}
			for line := range strings.Lines(ansi.Strip(term.out.String())) {
				if n := ansi.StringWidth(strings.TrimRight(line, "\r\n")); n > 80 {
					t.Errorf("%s: a line of %d: %q", command, n, line)
				}
			}
		}
	}
}
