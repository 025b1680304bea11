package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Escape sequences of terminals: the alternate screen without a cursor, and back. A
// library for terminals (bubbletea) would add 1.9 MB and 13 modules to do the same.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// The size of a terminal that does not report one.
const (
	usualWidth  = 80
	usualHeight = 24
)

const (
	barWidth    = 20
	minInterval = 100 * time.Millisecond
)

func topCommand() command {
	var interval time.Duration
	return command{
		use: "top [--interval DURATION]", short: "Shows the pools and refreshes until Ctrl-C", args: cobra.NoArgs,
		long: `
Shows the pools with bars of running and waiting requests, and refreshes. If the output
is not a terminal it prints once.`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().DurationVar(&interval, "interval", time.Second, "The time between two refreshes")
		},
		run: func(s *call) error {
			if interval < minInterval {
				return fmt.Errorf("bad interval '%s': want at least %s", interval, minInterval)
			}
			return s.top(interval)
		},
	}
}

func (s *call) top(interval time.Duration) error {
	f, ok := s.out.(*os.File)
	if s.json || !ok || !term.IsTerminal(int(f.Fd())) {
		return s.topOnce()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return s.watch(ctx, interval, func() (width, height int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return usualWidth, usualHeight
		}
		return width, height
	})
}

func (s *call) topOnce() error {
	now, text, err := s.look()
	if err != nil || s.json {
		return s.orJSON(text, err)
	}
	for _, line := range now.lines(view{}) {
		fmt.Fprintln(s.out, line)
	}
	return nil
}

// watch refreshes the screen until ctx ends. It goes on while the server cannot be
// reached, and shows the error.
func (s *call) watch(ctx context.Context, interval time.Duration, size func() (width, height int)) error {
	before, _, err := s.look()
	if err != nil {
		return err
	}
	_, _ = io.WriteString(s.out, enterScreen)
	defer func() { _, _ = io.WriteString(s.out, leaveScreen) }()
	lines := before.lines(view{})
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		width, height := size()
		s.draw(lines, width, height)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, _, err := s.look()
		if err != nil {
			lines = append(lines[:1:1], "", err.Error())
			continue
		}
		lines, before = now.lines(before), now
	}
}

// draw overwrites the screen in one write, so that nothing flickers.
func (s *call) draw(lines []string, width, height int) {
	var b bytes.Buffer
	b.WriteString(home)
	for i, line := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(text.Trim(line, width) + clearLine)
	}
	b.WriteString(clearBelow)
	_, _ = s.out.Write(b.Bytes())
}

// view has the pools at one moment.
type view struct {
	at    time.Time
	pools []pool
}

func (s *call) look() (view, []byte, error) {
	var answer struct{ Pools []pool }
	text, err := s.server.get("pools", &answer)
	return view{time.Now(), answer.Pools}, text, err
}

// lines returns the screen, with rates since an earlier view.
func (v view) lines(before view) []string {
	lines := []string{fmt.Sprintf("%s  %d pools", v.at.Format(time.TimeOnly), len(v.pools)), ""}
	t := newTable("POOL", "RUNNING", ">", "WAITING", ">", ">OLDEST", ">RUN", "BREAKER", ">ADMITTED/s", ">REJECTED/s", "NOTES")
	for _, p := range v.pools {
		breaker := p.Breaker
		if p.Phase != "open" {
			breaker = p.Phase + ", " + breaker
		}
		t.add(clean(p.Name), bar(p.Running, p.Limit), p.share(),
			bar(p.Waiting, p.QueueLimit), fmt.Sprintf("%d/%d", p.Waiting, p.QueueLimit),
			brief(p.OldestWait), brief(p.MeanRun), breaker,
			v.rate(before, p.Name, func(p pool) uint64 { return p.Admitted }),
			v.rate(before, p.Name, func(p pool) uint64 { return sum(p.Rejected) }), p.notes())
	}
	var b strings.Builder
	t.print(&b)
	return append(lines, strings.Split(strings.TrimRight(b.String(), "\n"), "\n")...)
}

// rate returns the growth of a counter of a pool per second.
func (v view) rate(before view, name string, of func(pool) uint64) string {
	now, seen := v.find(name)
	was, seenBefore := before.find(name)
	if !seen || !seenBefore || of(now) < of(was) {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(of(now)-of(was))/v.at.Sub(before.at).Seconds())
}

func (v view) find(name string) (p pool, ok bool) {
	i := slices.IndexFunc(v.pools, func(p pool) bool { return p.Name == name })
	if i < 0 {
		return pool{}, false
	}
	return v.pools[i], true
}

// bar shows n as a part of a limit. Without a limit the bar is half full.
func bar(n, of int) string {
	if of == 0 {
		of = 2 * n
	}
	filled := 0
	if of > 0 {
		filled = min(barWidth, (n*barWidth+of-1)/of)
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat(".", barWidth-filled) + "]"
}
