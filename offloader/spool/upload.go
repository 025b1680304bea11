package spool

import (
	"errors"
	"time"
)

// ErrTooSlow: the body came more slowly than Limits.MinRate allows.
var ErrTooSlow = errors.New("body comes too slowly")

const (
	// uploadSlack is how far an upload may fall behind the least rate, as time without
	// bytes. It is Caddy's own limit for a client that sends nothing, so that a client that
	// only pauses does not fail earlier here.
	uploadSlack = time.Minute

	// evictAfter is the least age of an upload that may lose its place to another one: a
	// slow start is no evidence of a slow client.
	evictAfter = 5 * time.Second
)

// Stopper is implemented by sources of bodies whose reads may block. Stop makes the
// current read and all later ones fail. It is called from another goroutine, and must
// not block.
type Stopper interface{ Stop() }

// Upload is a body that is being read. Until End it counts as one of Limits.Uploads.
type Upload struct {
	budget *Budget
	source Stopper // nil if its reads cannot be stopped
	member member  // of its body too
	began  time.Time

	// Guarded by the budget's mu.
	read    int64
	counted time.Time     // credit is that of this time
	credit  time.Duration // how much longer it may bring no bytes
	evicted bool
}

// BeginUpload counts a body that is about to be read from source, which may be [Owned]. If
// there are too many uploads, one of them fails in its favour: the slowest one below the
// least rate, of owners that have at least as many. If there is none, BeginUpload returns
// nil and counts nothing.
func (b *Budget) BeginUpload(source any) *Upload {
	now := time.Now()
	stopper, _ := source.(Stopper)
	owned, _ := source.(Owned)
	u := &Upload{
		budget: b, source: stopper, member: member{holder: OfBody, owned: owned},
		began: now, counted: now, credit: uploadSlack,
	}
	u.member.meet()
	evicted, ok := b.enter(u, now)
	if evicted != nil {
		evicted.source.Stop()
	}
	if !ok {
		return nil
	}
	return u
}

func (b *Budget) enter(u *Upload, now time.Time) (evicted *Upload, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := ask{of: uploads, n: 1}
	if !b.fits(&u.member, one) {
		if evicted = b.slowest(now, u); evicted == nil {
			return nil, false
		}
		evicted.evicted = true
		b.leave(evicted)
	}
	b.uploads[u] = struct{}{}
	b.order++
	u.member.order = b.order
	b.count(&u.member, uploads, 1)
	return evicted, true
}

// slowest returns the upload that gives its place to by, nil if there is none. It requires
// b.mu.
func (b *Budget) slowest(now time.Time, by *Upload) *Upload {
	var found *Upload
	least := float64(b.limits.MinRate)
	for u := range b.uploads {
		age := now.Sub(u.began)
		if u.source == nil || age < evictAfter {
			continue
		}
		if rate := float64(u.read) / age.Seconds(); rate < least && b.mayReplace(u, by) {
			found, least = u, rate
		}
	}
	return found
}

// mayReplace reports whether by may take the place of u: u belongs to the same owner or to
// one with more uploads, and by has room then. It requires b.mu.
func (b *Budget) mayReplace(u, by *Upload) bool {
	if u.member.owner != by.member.owner && b.accounts.held(&u.member, uploads) <= b.accounts.held(&by.member, uploads) {
		return false
	}
	b.count(&u.member, uploads, -1)
	defer b.count(&u.member, uploads, 1)
	return b.fits(&by.member, ask{of: uploads, n: 1})
}

// leave stops counting an upload. It requires b.mu.
func (b *Budget) leave(u *Upload) {
	if _, there := b.uploads[u]; there {
		delete(b.uploads, u)
		b.count(&u.member, uploads, -1)
	}
}

// Took counts n more bytes. It fails with ErrTooSlow if they came too slowly, or if the
// upload was replaced.
func (u *Upload) Took(n int) error {
	b := u.budget
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	u.read += int64(n)
	if u.evicted {
		return ErrTooSlow
	}
	if b.limits.MinRate <= 0 {
		return nil
	}
	earned := time.Duration(float64(n) / float64(b.limits.MinRate) * float64(time.Second))
	u.credit = min(u.credit-now.Sub(u.counted)+earned, uploadSlack)
	u.counted = now
	if u.credit < 0 {
		return ErrTooSlow
	}
	return nil
}

// End ends the upload.
func (u *Upload) End() {
	u.budget.mu.Lock()
	defer u.budget.mu.Unlock()
	u.budget.leave(u)
}
