package top

import (
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Model is the screen: a list of pools, or the requests of one pool.
type Model struct {
	source   Source
	interval time.Duration

	width, height int
	now, before   View
	sorting       int // in sortings
	reversed      bool
	pools         cursor

	open     string // the pool whose requests are shown, empty for the list
	requests []Request
	request  cursor

	asking  string // the request whose cancel waits for a confirmation
	message string // until the next key
	err     error  // of the last look
	pending int    // questions to the server without an answer
}

// cursor is the selected line of a list, identified by its key, so that the selection stays
// when the list changes.
type cursor struct{ key string }

// New returns a screen that begins with a view. It has the size of a usual terminal until
// it gets the real one.
func New(source Source, interval time.Duration, now View) Model {
	return Model{source: source, interval: interval, width: 80, height: 24, now: now}
}

// Messages of commands.
type (
	tick   struct{}
	looked struct{ view View }
	listed struct {
		pool     string
		requests []Request
	}
	failed   struct{ err error }
	answered struct{ text string }
)

// Init starts the first wait.
func (m Model) Init() tea.Cmd { return m.wait() }

func (m Model) wait() tea.Cmd { return tea.Tick(m.interval, func(time.Time) tea.Msg { return tick{} }) }

// look asks the server for the pools, and for the requests of the open one.
func (m Model) look() (Model, tea.Cmd) {
	cmds := []tea.Cmd{func() tea.Msg {
		pools, err := m.source.Pools()
		if err != nil {
			return failed{err}
		}
		return looked{View{time.Now(), pools}}
	}}
	if m.open != "" {
		cmds = append(cmds, func() tea.Msg {
			requests, err := m.source.Requests(m.open)
			if err != nil {
				return failed{err}
			}
			return listed{m.open, requests}
		})
	}
	m.pending += len(cmds)
	return m, tea.Batch(cmds...)
}

// Update takes a key, the size of the terminal, or an answer of the server.
func (m Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m.key(msg.String())
	case tick:
		if m.pending > 0 { // a slow server gets one question at a time
			return m, m.wait()
		}
		next, look := m.look()
		return next, tea.Batch(m.wait(), look)
	case looked:
		m.pending--
		m.before, m.now, m.err = m.now, msg.view, nil
	case listed:
		m.pending--
		if msg.pool == m.open { // else it came too late
			m.requests, m.err = msg.requests, nil
		}
	case failed:
		m.pending--
		m.err = msg.err
	case answered:
		m.message = msg.text
		return m.look()
	}
	return m, nil
}

func (m Model) key(key string) (tea.Model, tea.Cmd) {
	if key == "q" || key == "ctrl+c" {
		return m, tea.Quit
	}
	m.message = ""
	switch {
	case m.asking != "":
		return m.confirm(key)
	case m.open != "":
		return m.keyInPool(key)
	}
	return m.keyInList(key)
}

func (m Model) keyInList(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "s":
		m.sorting = (m.sorting + 1) % len(sortings)
	case "S", "shift+s":
		m.sorting = (m.sorting + len(sortings) - 1) % len(sortings)
	case "r":
		m.reversed = !m.reversed
	case "enter", "right":
		if rows := m.rows(); len(rows) > 0 {
			m.open, m.requests, m.request = m.pools.in(namesOf(rows)), nil, cursor{}
			return m.look()
		}
	default:
		m.pools = m.pools.moved(key, namesOf(m.rows()), m.space())
	}
	return m, nil
}

func (m Model) keyInPool(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "esc", "left", "backspace":
		m.open, m.requests, m.err = "", nil, nil
	case "c":
		m.asking = m.request.in(idsOf(m.requests))
	default:
		m.request = m.request.moved(key, idsOf(m.requests), m.space())
	}
	return m, nil
}

// confirm takes the answer to the question whether to cancel a request.
func (m Model) confirm(key string) (tea.Model, tea.Cmd) {
	id := m.asking
	m.asking = ""
	if key != "y" {
		m.message = "not cancelled"
		return m, nil
	}
	return m, func() tea.Msg {
		text, err := m.source.Cancel(id)
		if err != nil {
			text = err.Error()
		}
		return answered{text}
	}
}

func (m Model) rows() []Row {
	return sorted(m.now.Rows(m.before), sortings[m.sorting], m.reversed)
}

// space is the number of lines for a list, between the head with the titles and the line of
// keys.
func (m Model) space() int {
	used := 3
	if m.open != "" {
		used = 4
	}
	return max(m.height-used, 1)
}

func namesOf(rows []Row) []string {
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.Name
	}
	return names
}

func idsOf(requests []Request) []string {
	ids := make([]string, len(requests))
	for i, r := range requests {
		ids[i] = r.ID
	}
	return ids
}

// in returns the selected key of a list: the first one if the key has left the list.
func (c cursor) in(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return keys[c.index(keys)]
}

func (c cursor) index(keys []string) int { return max(slices.Index(keys, c.key), 0) }

// moved returns the cursor after a key press. space is the number of lines of the list that
// are shown.
func (c cursor) moved(key string, keys []string, space int) cursor {
	if len(keys) == 0 {
		return cursor{}
	}
	i := c.index(keys)
	switch key {
	case "up", "k":
		i--
	case "down", "j":
		i++
	case "pgup":
		i -= space
	case "pgdown", "space":
		i += space
	case "home", "g":
		i = 0
	case "end", "G", "shift+g":
		i = len(keys) - 1
	}
	c.key = keys[min(max(i, 0), len(keys)-1)]
	return c
}

// window returns the part of a list that is shown, with the selected line in it.
func (c cursor) window(keys []string, space int) (first, last int) {
	selected := c.index(keys)
	first = min(max(selected-space/2, 0), max(len(keys)-space, 0))
	return first, min(first+space, len(keys))
}
