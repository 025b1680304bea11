package celery

import (
	"fmt"
	"maps"
	"time"
)

// Message is a message of a broker: a task, a command to workers, or a reply of a worker.
type Message struct {
	// Exchange and RoutingKey are the destination. With the default exchange, whose
	// name is empty, the routing key is the queue.
	Exchange, RoutingKey string
	// CorrelationID is the ID of the task that the message is about.
	CorrelationID string
	// ReplyTo is the destination of replies. Empty: none.
	ReplyTo string
	// Priority is as in [Task.Priority]. Nil: none.
	Priority *int
	// Expiration is how long the broker keeps the message. Zero: until it is taken.
	Expiration time.Duration
	// Persistent messages survive a restart of the broker.
	Persistent bool
	// Headers hold JSON values: nil, bool, numbers, strings, []any and
	// map[string]any.
	Headers map[string]any
	// Body is encoded by ContentType and ContentEncoding.
	Body                         []byte
	ContentType, ContentEncoding string
}

const (
	contentJSON = "application/json"
	encodingUTF = "utf-8"

	// expiryGrace is how much longer the broker keeps an expired task. A worker that
	// takes it in this time reports it as expired. A message that the broker removes is
	// never reported.
	expiryGrace = time.Minute

	// embed is the third part of a task's body: the tasks to run after it.
	embed = `{"callbacks":null,"errbacks":null,"chain":null,"chord":null}`

	// isoTime and isoSeconds are Python's formats of a time with an offset: with six
	// digits of a second, or with none.
	isoTime    = "2006-01-02T15:04:05.000000-07:00"
	isoSeconds = "2006-01-02T15:04:05-07:00"
)

// Encode validates the task and returns its message, which every worker can read. An error
// wraps ErrInvalidTask.
func (t Task) Encode(now time.Time) (*Message, error) {
	m, err := t.encode(now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidTask, err)
	}
	return m, nil
}

func (t Task) encode(now time.Time) (*Message, error) {
	t = t.withDefaults()
	if err := t.check(); err != nil {
		return nil, err
	}
	args, kwargs, err := t.arguments()
	if err != nil {
		return nil, err
	}
	body := fmt.Appendf(nil, "[%s,%s,%s]", args, kwargs, embed)
	if err := checkBody(body); err != nil {
		return nil, err
	}
	m := &Message{
		RoutingKey:      t.Queue,
		CorrelationID:   t.ID,
		Priority:        t.Priority,
		Persistent:      true,
		Headers:         t.headers(),
		Body:            body,
		ContentType:     contentJSON,
		ContentEncoding: encodingUTF,
	}
	m.Headers["argsrepr"], m.Headers["kwargsrepr"] = tupleRepr(args, maxRepr), valueRepr(kwargs, maxRepr)
	if !t.Expires.IsZero() {
		m.Expiration = max(t.Expires.Sub(now)+expiryGrace, time.Millisecond)
	}
	return m, checkHeaders(m.Headers)
}

func (t Task) withDefaults() Task {
	if t.ID == "" {
		t.ID = NewID()
	}
	if t.RootID == "" {
		t.RootID = t.ID
	}
	if t.Queue == "" {
		t.Queue = DefaultQueue
	}
	return t
}

func (t Task) arguments() (args, kwargs []byte, err error) {
	args, kwargs = []byte("[]"), []byte("{}")
	if t.Args != nil {
		if args, err = marshal(t.Args); err != nil {
			return nil, nil, fmt.Errorf("writing args: %w", err)
		}
	}
	if err := checkKwargs(t.Kwargs); err != nil {
		return nil, nil, err
	}
	if t.Kwargs != nil {
		if kwargs, err = marshal(t.Kwargs); err != nil {
			return nil, nil, fmt.Errorf("writing kwargs: %w", err)
		}
	}
	return args, kwargs, nil
}

// headers returns the headers of Celery 5.2, which all versions with protocol 2 accept, and
// the caller's headers.
func (t Task) headers() map[string]any {
	h := map[string]any{
		"lang":          "py", // of the names and reprs below
		"task":          t.Name,
		"id":            t.ID,
		"root_id":       t.RootID,
		"parent_id":     orNil(t.ParentID),
		"shadow":        orNil(t.Shadow),
		"eta":           orNilTime(t.ETA),
		"expires":       orNilTime(t.Expires),
		"group":         nil,
		"group_index":   nil,
		"retries":       t.Retries,
		"timelimit":     []any{seconds(t.HardLimit), seconds(t.SoftLimit)},
		"origin":        origin,
		"ignore_result": t.IgnoreResult,
	}
	maps.Copy(h, t.Headers)
	return h
}

// origin is what monitors show as the sender of a task.
const origin = "caddy-offload"

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func orNilTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	if t = t.UTC().Truncate(time.Microsecond); t.Nanosecond() == 0 {
		return t.Format(isoSeconds)
	}
	return t.Format(isoTime)
}

// seconds returns a duration in seconds, in Python's notation: an integer if it is whole.
func seconds(d time.Duration) any {
	switch {
	case d == 0:
		return nil
	case d%time.Second == 0:
		return int64(d / time.Second)
	}
	return d.Seconds()
}
