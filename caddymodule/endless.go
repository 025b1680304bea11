package caddymodule

import (
	"context"
	"net/http"
	"strings"
)

// An event stream ends when its client leaves, and its client connects again when it is
// cut. When the process exits such streams are cut at once, as reverse_proxy closes upgraded
// connections: otherwise they take all of the grace period, which may be endless too. So
// are abandoned runs, whose answers are of no use.

// watchExit makes the exit of the process end the run. It reports false if the process
// exits already. It requires run.mu.
func (run *run) watchExit() bool {
	if exitContext.Err() != nil {
		return false
	}
	if run.unwatchExit == nil {
		run.unwatchExit = context.AfterFunc(exitContext, run.exit)
	}
	return true
}

// exit ends an event stream, or gives an abandoned run up.
func (run *run) exit() {
	run.mu.Lock()
	streams := run.endless && run.cause == nil && !run.ended
	run.mu.Unlock()
	if streams {
		run.abandonFor(errExiting)
		return
	}
	run.giveUp(errExiting)
}

// isEndless reports whether a response is a stream of events.
func isEndless(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}
