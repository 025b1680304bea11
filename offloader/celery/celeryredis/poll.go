package celeryredis

import (
	"context"
	"time"
)

// Intervals of polling. After each poll there is a pause of pollShare times its duration,
// so that many waiting calls slow down the polling and not the server.
const (
	fastPoll  = 5 * time.Millisecond
	slowPoll  = 50 * time.Millisecond
	pollShare = 10
)

// poll fetches the states of all watched tasks at intervals.
func (b *Backend) poll(ctx context.Context) {
	timer := time.NewTimer(fastPoll)
	defer timer.Stop()
	wait := fastPoll
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		seen, err := b.pollOnce(ctx)
		switch {
		case err != nil:
			b.lost(err)
			wait = min(max(2*wait, firstRetry), lastRetry)
		case seen > 0:
			wait = fastPoll
		default:
			wait = min(2*wait, slowPoll)
		}
		timer.Reset(max(wait, pollShare*time.Since(began)))
	}
}

// pollOnce reports changed states and returns their number.
func (b *Backend) pollOnce(ctx context.Context) (seen int, err error) {
	err = b.fetch(ctx, b.table.IDs(), func(id, payload string) {
		if b.isNews(id, payload) {
			seen++
			b.report(id, payload)
		}
	})
	if err == nil {
		b.health.Up()
	}
	return seen, err
}

// isNews reports whether a state differs from the last one of the task, and records it.
func (b *Backend) isNews(id, payload string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.subs[id]
	if s == nil || s.last == payload {
		return false
	}
	s.last = payload
	return true
}
