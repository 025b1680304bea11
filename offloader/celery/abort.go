package celery

import (
	"context"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// Aborter is a backend that can replace the stored state of a task.
type Aborter interface {
	// Abort stores the state Aborted for a task and reports it, unless the task
	// has ended.
	Abort(ctx context.Context, id string) error
}

// Abort requests a task to end by itself: its state becomes Aborted, which tasks of class
// AbortableTask check for. Other tasks continue. A task that has ended does not change. The
// backend must be an Aborter.
func (c *Client) Abort(ctx context.Context, id string) error {
	if err := checkName("id", id); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidTask, err)
	}
	aborter, ok := c.backend.(Aborter)
	if !ok {
		return fmt.Errorf("aborting a task: %w by this backend", ErrUnsupported)
	}
	if err := aborter.Abort(ctx, id); err != nil {
		return fmt.Errorf("aborting task '%s': %w", id, err)
	}
	return nil
}

// EncodeAborted returns the state Aborted of a task, byte for byte as Celery writes it. stored
// is the present state of the task, nil without one. The result is nil if that state is final.
// If it cannot be decoded, the error wraps ErrUnreadable.
func EncodeAborted(id string, stored []byte) ([]byte, error) {
	if stored != nil {
		state, err := stateOf(stored)
		if err != nil || state.Final() {
			return nil, err
		}
	}
	quoted, err := marshal(id)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"status": %q, "result": null, "traceback": null, "children": null, "date_done": null, "task_id": %s}`,
		Aborted, inASCII(quoted)), nil
}

// inASCII escapes all other characters, as Python does in JSON.
func inASCII(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
