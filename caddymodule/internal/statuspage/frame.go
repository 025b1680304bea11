package statuspage

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobpage"
)

// frame is everything that viewers see at one moment, encoded once for all of them.
type frame struct {
	number uint64 // of the collection
	*moment
	failed string // why the numbers are old, empty if they are not
	opened []view
	parts  []*part
	// replaced is closed when there is a newer frame.
	replaced chan struct{}

	mu       sync.Mutex
	messages map[messageKey][]byte // guarded by mu
}

// messageKey identifies a message. Most viewers of a page have received the same frame
// before, so they get the same message.
type messageKey struct {
	page  view
	after uint64
}

// part is one piece of a frame, with the number of the frame in which it last changed. So a
// viewer gets only the changes since the last frame that it has received.
type part struct {
	key     partKey
	changed uint64
	json    []byte
}

// partKey identifies a part: its kind, the pages that show it, and the pool that it is
// about.
type partKey struct {
	kind string
	page view
	all  bool // all pages show it
	pool string
}

// partJSON is the form of a part for JavaScript.
type partJSON struct {
	Kind  string `json:"kind"`
	Value any    `json:"value"`
}

// clock is the part of the page that shows the time of the numbers, and an error that makes
// them old.
type clock struct {
	At     string `json:"at"`
	Failed string `json:"failed"`
}

func (f *frame) clock() clock { return clock{f.At.Local().Format(time.TimeOnly), f.failed} }

// has reports whether the frame has the details of a view.
func (f *frame) has(v view) bool { return v == view{} || slices.Contains(f.opened, v) }

// frames makes one frame after the other.
type frames struct {
	number uint64
	memory *memory
	last   *moment
	parts  map[partKey]*part
}

func newFrames() *frames { return &frames{memory: newMemory(), parts: make(map[partKey]*part)} }

// next returns the frame for a moment, with the parts of the opened views. failed is the
// error because of which the moment is an old one, empty without one.
func (s *frames) next(m *moment, opened []view, failed string) *frame {
	s.number++
	s.last = m
	f := &frame{number: s.number, moment: m, failed: failed, opened: opened, replaced: make(chan struct{})}
	kept := make(map[partKey]*part, len(s.parts))
	add := func(key partKey, value any) {
		text, err := json.Marshal(partJSON{key.kind, value})
		if err != nil {
			return // cannot happen: they are texts and numbers
		}
		p := s.parts[key]
		if p == nil || !bytes.Equal(p.json, text) {
			p = &part{key, f.number, text}
		}
		kept[key] = p
		f.parts = append(f.parts, p)
	}
	add(partKey{kind: "clock", all: true}, f.clock())
	add(partKey{kind: "tabs", all: true}, m.Jobs)
	s.addOverview(m, add)
	for _, v := range opened {
		switch {
		case v.jobs:
			add(partKey{kind: "jobs", page: v}, m.jobs[v.ofJobs])
		case v.pool != "":
			s.addPool(m, v, add)
		}
	}
	s.parts = kept
	return f
}

func (s *frames) addOverview(m *moment, add func(partKey, any)) {
	add(partKey{kind: "overview"}, m.overview())
	add(partKey{kind: "names"}, m.names())
	for _, row := range m.rows() {
		add(partKey{kind: "pool", pool: row.Name}, row)
	}
	add(partKey{kind: "spool"}, m.spool())
	add(partKey{kind: "tables"}, m.tables())
	add(partKey{kind: "unserved"}, m.unserved(""))
	add(partKey{kind: "slowest"}, m.slowest(""))
	addPlots(&s.memory.all, m.At, view{}, add)
}

func (s *frames) addPool(m *moment, v view, add func(partKey, any)) {
	detail, ok := m.detailOf(v.pool)
	if !ok {
		add(partKey{kind: "gone", page: v}, true)
		return
	}
	add(partKey{kind: "gone", page: v}, false)
	add(partKey{kind: "detail", page: v}, detail)
	add(partKey{kind: "unserved", page: v}, m.unserved(v.pool))
	add(partKey{kind: "slowest", page: v}, m.slowest(v.pool))
	if t := s.memory.pools[v.pool]; t != nil {
		addPlots(&t.histories, m.At, v, add)
	}
}

func addPlots(h *histories, at time.Time, page view, add func(partKey, any)) {
	add(partKey{kind: "fine", page: page}, h.fine.plotUntil(at))
	add(partKey{kind: "coarse", page: page}, h.coarse.plotUntil(at))
}

// message returns an event with the parts for a page that have changed after a frame.
func (f *frame) message(page view, after uint64) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := messageKey{page, after}
	if text, ok := f.messages[key]; ok {
		return text
	}
	if f.messages == nil {
		f.messages = make(map[messageKey][]byte)
	}
	text := f.joined(page, after)
	f.messages[key] = text
	return text
}

func (f *frame) joined(page view, after uint64) []byte {
	var text bytes.Buffer
	text.WriteString("data: ")
	separator := byte('[')
	for _, p := range f.parts {
		if p.changed <= after || !p.key.all && p.key.page != page {
			continue
		}
		text.WriteByte(separator)
		text.Write(p.json)
		separator = ','
	}
	if separator == '[' {
		text.WriteByte(separator)
	}
	text.WriteString("]\n\n")
	return text.Bytes()
}

// collect makes a frame with the numbers of a source. If the source fails, the frame has
// the last numbers, and the error.
func (s *frames) collect(ctx context.Context, source Source, opened []view) *frame {
	var pools []string
	for _, v := range opened {
		if v.pool != "" {
			pools = append(pools, v.pool)
		}
	}
	status, err := source.Status(ctx, pools)
	switch {
	case err == nil:
		m := s.memory.note(status)
		m.jobs = jobsOf(ctx, source, opened)
		return s.next(m, opened, "")
	case s.last == nil:
		return s.next(&moment{Status: &admin.Status{At: time.Now()}}, opened, err.Error())
	}
	return s.next(s.last, opened, err.Error())
}

// jobsOf reads the jobs of the opened views.
func jobsOf(ctx context.Context, source Source, opened []view) map[jobpage.View]jobpage.Page {
	all := make(map[jobpage.View]jobpage.Page)
	for _, v := range opened {
		if v.jobs {
			all[v.ofJobs] = jobpage.Load(ctx, source.Get, v.ofJobs)
		}
	}
	return all
}
