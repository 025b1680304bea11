package pools

import (
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// mode is the mode of a pool: enforce or shadow. In mode shadow the pool only decides, its
// routes let all requests through, and rejections are counted separately. Since the engine
// has one count for each reason, mode keeps the counts of the moment at which the mode
// changed.
type mode struct {
	mu     sync.Mutex // guards the rest
	shadow bool
	since  map[offloader.Reason]uint64 // when the mode became shadow
	before map[offloader.Reason]uint64 // rejections in shadow before that
}

// set changes the mode. all returns the counts of all rejections so far.
func (m *mode) set(shadow bool, all func() map[offloader.Reason]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case shadow == m.shadow:
	case shadow:
		m.since = all()
	default:
		m.before = m.inShadow(all())
	}
	m.shadow = shadow
}

// on reports whether the mode is shadow.
func (m *mode) on() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shadow
}

// String is the value of the option.
func (m *mode) String() string {
	if m.on() {
		return "shadow"
	}
	return "enforce"
}

// split divides the counts of rejections into those of requests that were really rejected,
// and those of requests that were let through in mode shadow.
func (m *mode) split(all map[offloader.Reason]uint64) (enforced, shadow map[offloader.Reason]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	shadow = m.inShadow(all)
	enforced = make(map[offloader.Reason]uint64, len(all))
	for r, n := range all {
		if n > shadow[r] {
			enforced[r] = n - shadow[r]
		}
	}
	return enforced, shadow
}

// inShadow returns the part of the rejections that was counted in mode shadow. It requires
// m.mu.
func (m *mode) inShadow(all map[offloader.Reason]uint64) map[offloader.Reason]uint64 {
	shadow := make(map[offloader.Reason]uint64)
	for r, n := range all {
		of := m.before[r]
		if m.shadow {
			of += n - m.since[r]
		}
		if of > 0 {
			shadow[r] = of
		}
	}
	return shadow
}
