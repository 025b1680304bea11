package celery

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of messages. AMQP encodes names as short strings, of up to 255 bytes, and all headers
// in one frame, of up to 128 KiB.
const (
	maxName    = 255
	maxHeader  = 128
	maxHeaders = 64 << 10
	maxBody    = 16 << 20
	maxNesting = 16 // of a header
	maxRetries = 1 << 20
)

// Limits of the worker's clock and timers. A time limit that ends before the task has begun
// would kill the worker process that is about to run it.
var latestTime = time.Date(2199, 12, 31, 0, 0, 0, 0, time.UTC)

const (
	shortestLimit = 100 * time.Millisecond
	longestLimit  = 365 * 24 * time.Hour
)

// reserved are the headers that callers must not set: those of the protocol, and names of
// attributes of a task's request, which a header would hide.
var reserved = set(
	"lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit",
	"root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting",
	"stamped_headers", "stamps", "compression", "redelivered", "method",
	"args", "kwargs", "callbacks", "errbacks", "called_directly", "chain", "chord", "children",
	"correlation_id", "reply_to", "delivery_info", "delivery_mode", "delivery_tag", "properties", "headers",
	"hostname", "is_eager", "logfile", "loglevel", "taskset", "utc", "update", "clear", "get",
	"as_execution_options", "protocol", "priority", "body", "content_type", "content_encoding",
)

func set(names ...string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, name := range names {
		s[name] = true
	}
	return s
}

// check validates all fields but the arguments.
func (t Task) check() error {
	return errors.Join(
		checkName("name", t.Name),
		checkName("id", t.ID),
		checkName("queue", t.Queue),
		checkOptionalName("shadow", t.Shadow),
		checkName("root id", t.RootID),
		checkOptionalName("parent id", t.ParentID),
		checkPriority(t.Priority),
		checkTime("eta", t.ETA),
		checkTime("expires", t.Expires),
		t.checkLimits(),
		t.checkHeaderNames(),
	)
}

func checkOptionalName(what, name string) error {
	if name == "" {
		return nil
	}
	return checkName(what, name)
}

// checkName rejects names that would corrupt keys, log lines or short strings.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is empty", what)
	case len(name) > maxName:
		return fmt.Errorf("%s has %d bytes, at most %d", what, len(name), maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s is not UTF-8", what)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%s holds a control character", what)
	}
	return nil
}

func checkPriority(p *int) error {
	if p != nil && (*p < LowestPriority || *p > HighestPriority) {
		return fmt.Errorf("priority %d is not between %d and %d", *p, LowestPriority, HighestPriority)
	}
	return nil
}

func checkTime(what string, t time.Time) error {
	if !t.IsZero() && (t.Before(time.Unix(0, 0)) || t.After(latestTime)) {
		return fmt.Errorf("%s %s is out of range", what, t.Format(time.RFC3339))
	}
	return nil
}

func (t Task) checkLimits() error {
	for _, limit := range []time.Duration{t.HardLimit, t.SoftLimit} {
		if limit != 0 && (limit < shortestLimit || limit > longestLimit) {
			return fmt.Errorf("the time limit %s is not between %s and %s", limit, shortestLimit, longestLimit)
		}
	}
	switch {
	case t.HardLimit > 0 && t.SoftLimit > t.HardLimit:
		return errors.New("the soft time limit is above the hard one")
	case t.Retries < 0 || t.Retries > maxRetries:
		return fmt.Errorf("retries %d are not between 0 and %d", t.Retries, maxRetries)
	}
	return nil
}

func (t Task) checkHeaderNames() error {
	for name := range t.Headers {
		if err := checkHeaderName(name); err != nil {
			return err
		}
	}
	return nil
}

// checkHeaderName accepts only names that begin with a letter: Python gives a meaning to
// some that begin otherwise.
func checkHeaderName(name string) error {
	if reserved[strings.ToLower(name)] {
		return fmt.Errorf("header '%s' is reserved by Celery", name)
	}
	if name == "" || len(name) > maxHeader || !isLetter(name[0]) || strings.ContainsFunc(name, notInHeaderName) {
		return fmt.Errorf("%q is not a valid header name", name)
	}
	return nil
}

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

func notInHeaderName(r rune) bool {
	return r > unicode.MaxASCII || !isLetter(byte(r)) && !unicode.IsDigit(r) && r != '-' && r != '_' && r != '.'
}

// checkHeaders makes sure that all brokers can write the values.
func checkHeaders(headers map[string]any) error {
	size := 0
	for name, value := range headers {
		n, err := headerSize(value, 0)
		if err != nil {
			return fmt.Errorf("header '%s': %w", name, err)
		}
		size += len(name) + n
	}
	if size > maxHeaders {
		return fmt.Errorf("the headers have %d bytes, at most %d", size, maxHeaders)
	}
	return nil
}

// headerSize returns roughly how many bytes a value takes on the wire.
func headerSize(value any, nesting int) (int, error) {
	if nesting > maxNesting {
		return 0, errors.New("nested too deeply")
	}
	size := 16
	switch v := value.(type) {
	case nil, bool, int, int64:
	case float64:
		return size, checkFinite(v)
	case string:
		if !utf8.ValidString(v) {
			return 0, errors.New("not UTF-8")
		}
		size += len(v)
	case []any:
		for _, element := range v {
			n, err := headerSize(element, nesting+1)
			if err != nil {
				return 0, err
			}
			size += n
		}
	case map[string]any:
		if _, _, ok := wrapped(v); ok { // some brokers have headers in JSON, and others not
			return 0, errors.New("an object with only the keys __type__ and __value__ would be decoded as another value")
		}
		for name, element := range v {
			n, err := headerSize(element, nesting+1)
			if err != nil {
				return 0, err
			}
			if checkName("", name) != nil {
				return 0, fmt.Errorf("%q is not a valid name", name)
			}
			size += len(name) + n
		}
	default:
		return 0, fmt.Errorf("a %T cannot be sent", value)
	}
	return size, nil
}
