package resource

import (
	"encoding/json"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// document is a job as JSON. The fields of times are left out while they are not known.
type document struct {
	ID         jobs.ID    `json:"id"`
	State      jobs.State `json:"state"`
	Reason     string     `json:"reason,omitempty"`
	WaitingFor string     `json:"waiting_for,omitempty"`
	Position   int        `json:"position,omitempty"`
	Generation int        `json:"generation"`
	Attempt    int        `json:"attempt"`

	Created   time.Time `json:"created"`
	NotBefore time.Time `json:"not_before,omitzero"`
	Cancel    time.Time `json:"cancel_requested,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`

	Bytes    int64          `json:"bytes"`
	Progress *progressOfJob `json:"progress,omitempty"`
	Response *response      `json:"response,omitempty"`
	Attempts []attempt      `json:"attempts"`
	Webhook  *webhook       `json:"webhook,omitempty"`
	Links    links          `json:"links"`
}

type progressOfJob struct {
	Percent *float64  `json:"percent,omitempty"`
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at"`
}

type response struct {
	Status      int    `json:"status"`
	ContentType string `json:"content_type,omitempty"`
	Complete    bool   `json:"complete"`
}

type attempt struct {
	Generation int        `json:"generation"`
	Number     int        `json:"number"`
	Began      time.Time  `json:"began"`
	Ended      time.Time  `json:"ended,omitzero"`
	Outcome    jobs.Class `json:"outcome,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	Status     int        `json:"status,omitempty"`
	Bytes      int64      `json:"bytes,omitempty"`
}

type webhook struct {
	State jobs.HookState `json:"state,omitempty"`
	Tries int            `json:"tries"`
	Next  time.Time      `json:"next,omitzero"`
	Error string         `json:"error,omitempty"`
}

// links are the paths of the parts of a job; those that have no use now are left out.
type links struct {
	Self   string `json:"self"`
	Result string `json:"result,omitempty"`
	Events string `json:"events,omitempty"`
	Cancel string `json:"cancel,omitempty"`
	Retry  string `json:"retry,omitempty"`
}

// path returns the path of a part of a job.
func (c *call) path(id jobs.ID, part string) string {
	if part != "" {
		part = "/" + part
	}
	return c.base + id.String() + part
}

func (c *call) document(v *jobs.View) document {
	d := document{
		ID: v.ID, State: v.State, Reason: v.Reason, WaitingFor: v.WaitingFor, Position: v.Position,
		Generation: v.Generation, Attempt: v.Attempt,
		Created: v.Created, NotBefore: v.NotBefore, Ended: v.Ended, Expires: v.KeepUntil,
		Bytes: v.Bytes, Progress: progressOf(v.Progress), Response: responseOf(v.Response),
		Attempts: attemptsOf(v.Attempts), Links: c.linksOf(v),
	}
	if v.Cancel != nil {
		d.Cancel = v.Cancel.At
	}
	if h := v.Hook; h != nil {
		d.Webhook = &webhook{State: h.State, Tries: h.Tries, Next: h.Next, Error: h.Error}
	}
	return d
}

func (c *call) linksOf(v *jobs.View) links {
	l := links{Self: c.path(v.ID, ""), Events: c.path(v.ID, "events")}
	if !v.State.Terminal() || hasResult(v) {
		l.Result = c.path(v.ID, "result")
	}
	if !v.State.Terminal() {
		l.Cancel = c.path(v.ID, "cancel")
	}
	if mayRunAgain(v.State) {
		l.Retry = c.path(v.ID, "retry")
	}
	return l
}

// hasResult reports whether the job has ended with a complete response.
func hasResult(v *jobs.View) bool {
	return v.State.Terminal() && v.Response != nil && v.Response.Complete
}

// mayRunAgain reports whether a client can run a job in this state again.
func mayRunAgain(s jobs.State) bool { return s.Terminal() && s != jobs.Succeeded }

func progressOf(p jobs.Progress) *progressOfJob {
	if p == (jobs.Progress{}) {
		return nil
	}
	return &progressOfJob{Percent: percentOf(p), Message: p.Message, At: p.At}
}

// percentOf returns nil if the upstream has not reported a percentage.
func percentOf(p jobs.Progress) *float64 {
	if p.Percent < 0 || p == (jobs.Progress{}) {
		return nil
	}
	return &p.Percent
}

func responseOf(r *jobs.Response) *response {
	if r == nil {
		return nil
	}
	return &response{Status: r.Status, ContentType: value(r.Header, "Content-Type"), Complete: r.Complete}
}

func attemptsOf(records []jobs.AttemptRecord) []attempt {
	all := make([]attempt, len(records))
	for i, a := range records {
		all[i] = attempt{
			Generation: a.Generation, Number: a.Number, Began: a.Began, Ended: a.Ended,
			Outcome: a.Class, Reason: a.Reason, Status: a.Status, Bytes: a.Bytes,
		}
	}
	return all
}

// encode returns a value as a line of JSON.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot happen: numbers, texts and times
	}
	return append(text, '\n')
}
