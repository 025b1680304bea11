package celery

import (
	"fmt"
	"maps"
	"time"
)

// Message is what brokers carry: a task, a command to workers, or what these
// send back.
type Message struct {
	// Exchange and RoutingKey say where it goes. With the default exchange,
	// which has no name, the routing key is the queue.
	Exchange, RoutingKey string
	// CorrelationID is the ID of the task that the message is about.
	CorrelationID string
	// ReplyTo is where an answer goes. Empty: nowhere.
	ReplyTo string
	// Priority with the meaning of [Task.Priority]. Nil: none.
	Priority *int
	// Expiration is how long the broker may keep the message. Zero: for ever.
	Expiration time.Duration
	// Persistent messages survive a restart of the broker.
	Persistent bool
	// Headers hold JSON values: nil, bool, numbers, strings, []any and
	// map[string]any.
	Headers map[string]any
	// Body in the form that ContentType and ContentEncoding tell.
	Body                         []byte
	ContentType, ContentEncoding string
}

const (
	contentJSON = "application/json"
	encodingUTF = "utf-8"

	// expiryGrace is how much longer the broker keeps a task that has expired. If
	// a worker gets to it in that time it says that it has expired; what the
	// broker clears away is never told of.
	expiryGrace = time.Minute

	// embed is the third part of a task's body: what is to run after it.
	embed = `{"callbacks":null,"errbacks":null,"chain":null,"chord":null}`

	// isoTime and isoSeconds are how Python writes a moment with its offset: with
	// six digits after the second or with none.
	isoTime    = "2006-01-02T15:04:05.000000-07:00"
	isoSeconds = "2006-01-02T15:04:05-07:00"
)

// Encode checks the task and makes a message of it. The error wraps
// ErrInvalidTask. Nothing that Encode returns can harm a worker.
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

// headers of Celery 5.2, which all versions of protocol 2 take, and the caller's.
func (t Task) headers() map[string]any {
	h := map[string]any{
		"lang":          "py", // the language of the names and reprs here
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

// origin is shown by monitors as the sender of a task.
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

// seconds as Python writes them: whole ones as an integer.
func seconds(d time.Duration) any {
	switch {
	case d == 0:
		return nil
	case d%time.Second == 0:
		return int64(d / time.Second)
	}
	return d.Seconds()
}
