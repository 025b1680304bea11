package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/columns"
)

// View draws the screen.
func (m Model) View() tea.View {
	v := tea.NewView(strings.Join(m.Lines(), "\n"))
	v.AltScreen = true
	return v
}

// Lines returns the lines of the screen, none wider than the terminal.
func (m Model) Lines() []string {
	lines := m.list()
	if m.open != "" {
		lines = m.pool()
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(m.height-1, 0)], m.last())
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "")
	}
	return lines
}

// list returns the head and the table of pools.
func (m Model) list() []string {
	const bar = 8
	rows := m.rows()
	running, waiting := 0.0, 0.0
	for _, r := range rows {
		running += r.Running.Value
		waiting += r.Waiting.Value
	}
	lines := Table(rows, bar, Paint).Lines(m.width - len(unmarked))
	head := []string{m.now.At.Format(time.TimeOnly), counted(len(rows), "pool"), fmt.Sprintf("%.0f running", running), fmt.Sprintf("%.0f waiting", waiting)}
	if by := sortings[m.sorting].title; m.reversed {
		head = append(head, "by "+by+", reversed")
	} else if m.sorting > 0 {
		head = append(head, "by "+by)
	}
	return m.framed(head, lines, m.pools, namesOf(rows))
}

// pool returns the head of the open pool, and the table of its requests.
func (m Model) pool() []string {
	state := []string{"gone"}
	for _, r := range m.now.Rows(m.before) {
		if r.Name == m.open {
			state = []string{r.Running.Text + " running", r.Waiting.Text + " waiting", "breaker " + r.State, "run " + r.MeanRun.Text, r.Notes}
		}
	}
	lines := requestTable(m.requests).Lines(m.width - len(unmarked))
	if len(m.requests) == 0 {
		lines = []string{"no requests"}
	}
	screen := m.framed([]string{m.open}, lines, m.request, idsOf(m.requests))
	return slices.Insert(screen, 1, fitting(m.width, state...))
}

// Marks of lines, the selected one and others.
const (
	marked   = "> "
	unmarked = "  "
)

// framed returns a head, the titles of a table, and the part of its rows that has space.
func (m Model) framed(head, table []string, at cursor, keys []string) []string {
	first, last := at.window(keys, m.space())
	if last-first < len(keys) {
		head = append(head, fmt.Sprintf("%d-%d of %d", first+1, last, len(keys)))
	}
	lines := []string{fitting(m.width, head...), bold(unmarked + table[0])}
	selected := at.in(keys)
	for i, row := range table[1:] {
		switch {
		case i < first || i >= last:
		case keys[i] == selected:
			lines = append(lines, bold(marked+row))
		default:
			lines = append(lines, unmarked+row)
		}
	}
	return lines
}

// last returns the last line: a question, a message, an error, or the keys.
func (m Model) last() string {
	switch {
	case m.asking != "":
		return Paint(Halted, columns.Shorten("cancel request "+m.asking+"? y/n", m.width))
	case m.message != "":
		return columns.Shorten(m.message, m.width)
	case m.err != nil:
		return Paint(Broken, columns.Shorten(m.err.Error(), m.width))
	case m.open != "":
		return fitting(m.width, "q quit", "esc back", "c cancel a request", "up/down select", "pgup/pgdown scroll")
	}
	return fitting(m.width, "q quit", "enter open", "s sort by "+sortings[(m.sorting+1)%len(sortings)].title, "r reverse", "up/down select", "pgup/pgdown scroll")
}

// Colours of terminals.
const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	purple = "\x1b[35m"
	red    = "\x1b[1;31m"
	strong = "\x1b[1m"
	reset  = "\x1b[0m"
)

// Paint colours a text by the attention that it needs. The library removes colours if the
// terminal has none, or if NO_COLOR is set.
func Paint(level Level, text string) string {
	if text == "" {
		return ""
	}
	return []string{Calm: green, Busy: yellow, Halted: purple, Broken: red}[level] + text + reset
}

// bold makes a line bold. A colour in the line would end the bold text, so it begins again
// after each.
func bold(line string) string {
	return strong + strings.ReplaceAll(line, reset, reset+strong) + reset
}
