package resource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/problem"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Times of event streams.
const (
	// reconnect is when a client connects again after a stream has broken.
	reconnect = 2 * time.Second
	// heartbeat is the longest time without a message, so that proxies keep the connection.
	heartbeat = 15 * time.Second
	// leastGap is the least time between two looks at the job, and progressGap that between
	// two events about progress alone.
	leastGap    = 50 * time.Millisecond
	progressGap = 250 * time.Millisecond
	// writeTimeout is how long a client may take for a message.
	writeTimeout = 30 * time.Second
)

// Names of events.
const (
	eventState    = "state"
	eventAttempt  = "attempt"
	eventProgress = "progress"
	eventDone     = "done"
)

// event is the data of each event.
type event struct {
	State      jobs.State `json:"state"`
	Reason     string     `json:"reason,omitempty"`
	WaitingFor string     `json:"waiting_for,omitempty"`
	Generation int        `json:"generation"`
	Attempt    int        `json:"attempt"`
	Position   int        `json:"position,omitempty"`
	Status     int        `json:"status,omitempty"`
	Bytes      int64      `json:"bytes"`
	Percent    *float64   `json:"percent,omitempty"`
	Message    string     `json:"message,omitempty"`
}

func eventOf(v *jobs.View) event {
	e := event{
		State: v.State, Reason: v.Reason, WaitingFor: v.WaitingFor, Generation: v.Generation, Attempt: v.Attempt,
		Position: v.Position, Bytes: v.Bytes, Percent: percentOf(v.Progress), Message: v.Progress.Message,
	}
	if v.Response != nil {
		e.Status = v.Response.Status
	}
	return e
}

// followJob sends the events of the job until it has ended, the client leaves, or the
// configuration ends.
func followJob(c *call) {
	last := c.r.Header.Get("Last-Event-ID")
	if c.view.State.Terminal() && last == c.view.Version {
		// The client has got all events: no content means that an EventSource must not
		// connect again.
		c.w.WriteHeader(http.StatusNoContent)
		return
	}
	leave, ok := c.events.enter(c.view.Tenant, c.options.Limits.Events)
	if !ok {
		c.problem(problem.Problem{Type: problem.TooManyReaders, RetryAfter: heartbeat})
		return
	}
	defer leave()
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")
	if c.r.Method == http.MethodHead {
		return
	}
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	defer context.AfterFunc(c.open, cancel)()
	s := &stream{call: c, ctx: ctx, control: http.NewResponseController(c.w)}
	if last == c.view.Version {
		s.sent = c.view
	}
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }() // HTTP/3 has none
	s.run()
}

// stream sends events to one client.
type stream struct {
	*call
	ctx     context.Context
	control *http.ResponseController
	text    bytes.Buffer // of the next write

	sent       jobs.View // what the client has got, with an empty version before the first event
	progressed time.Time // of the last event about progress
}

// run sends events until there are no more.
func (s *stream) run() {
	wake, stop := s.jobs.Watch(s.id)
	defer stop()
	fmt.Fprintf(&s.text, "retry: %d\n\n", reconnect.Milliseconds())
	if s.sent.Version != "" {
		s.text.WriteString(": nothing has changed\n\n") // so that the head goes out
	}
	for {
		view, err := s.jobs.Get(s.ctx, s.id)
		if err != nil {
			s.gone(err)
			return
		}
		again := s.add(&view, time.Now())
		if !s.flush() || view.State.Terminal() || !s.pause(wake, again) {
			return
		}
	}
}

// gone ends the stream of a job that was removed. After another error the client connects
// again.
func (s *stream) gone(err error) {
	if errors.Is(err, jobs.ErrUnknown) {
		s.text.WriteString("event: " + eventDone + "\ndata: {\"state\":\"removed\"}\n\n")
		s.flush()
	}
}

// add adds the events that lead from what the client has got to a view. It returns when to
// look again if nothing happens until then.
func (s *stream) add(v *jobs.View, now time.Time) (again time.Duration) {
	names := changes(&s.sent, v)
	if len(names) == 1 && names[0] == eventProgress {
		if wait := s.progressed.Add(progressGap).Sub(now); wait > 0 {
			return wait
		}
		s.progressed = now
	}
	if len(names) == 0 {
		return heartbeat
	}
	data := encode(eventOf(v))
	for _, name := range names {
		fmt.Fprintf(&s.text, "id: %s\nevent: %s\ndata: %s\n", v.Version, name, data)
	}
	s.sent = *v
	return heartbeat
}

// changes names the events that lead from one view to another. The first view of a client
// leads to one event.
func changes(from, to *jobs.View) (names []string) {
	if from.Version == to.Version {
		return nil
	}
	if to.State.Terminal() {
		return []string{eventDone}
	}
	if from.Version == "" {
		return []string{eventState}
	}
	if to.Attempt != from.Attempt || to.Generation != from.Generation {
		names = append(names, eventAttempt)
	}
	if to.State != from.State || to.WaitingFor != from.WaitingFor || to.Generation != from.Generation {
		names = append(names, eventState)
	}
	if len(names) == 0 {
		names = append(names, eventProgress)
	}
	return names
}

// flush sends the text, if there is any. It reports whether the client has got it.
func (s *stream) flush() bool {
	if s.text.Len() == 0 {
		return true
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := s.w.Write(s.text.Bytes())
	s.text.Reset()
	if err == nil {
		err = s.control.Flush()
	}
	return err == nil || errors.Is(err, http.ErrNotSupported)
}

// pause waits for a change of the job, but not longer than until the client must get a
// message. It returns false if the stream ends.
func (s *stream) pause(wake <-chan struct{}, again time.Duration) bool {
	timer := time.NewTimer(min(again, leastGap))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
		return false
	}
	timer.Reset(max(again-leastGap, 0))
	select {
	case <-wake:
	case <-timer.C:
		if again == heartbeat {
			s.text.WriteString(": still here\n\n")
		}
	case <-s.ctx.Done():
		return false
	}
	return true
}
