package load

import (
	"fmt"
	"io"
	"os"
	"time"
)

// Progress shows the state of a run: one line that changes on a terminal, a few
// lines elsewhere.
type Progress struct {
	w        io.Writer
	terminal bool
}

// NewProgress writes to w, which may be a terminal.
func NewProgress(w io.Writer) *Progress {
	f, ok := w.(*os.File)
	if !ok {
		return &Progress{w: w}
	}
	info, err := f.Stat()
	return &Progress{w: w, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// Say prints a line that stays.
func (p *Progress) Say(format string, args ...any) {
	if p.terminal {
		format = "\r\x1b[K" + format
	}
	fmt.Fprintf(p.w, format+"\n", args...)
}

// Watch shows the progress of a run until it is finished; fast may be nil. Its
// line fits a narrow terminal, because a line that wraps cannot be overwritten.
func (p *Progress) Watch(finished <-chan struct{}, blocking, fast *Tally) {
	every, form := 5*time.Second, "%s\n"
	if p.terminal {
		every, form = 200*time.Millisecond, "\r\x1b[K%s"
	}
	start := time.Now()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-finished:
			return
		case <-ticker.C:
			line := fmt.Sprintf("  %2.0f s  %v", time.Since(start).Seconds(), blocking)
			if fast != nil {
				line += fmt.Sprintf("; fast: %v", fast)
			}
			fmt.Fprintf(p.w, form, line)
		}
	}
}

// Human rounds a duration to three digits or so.
func Human(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
