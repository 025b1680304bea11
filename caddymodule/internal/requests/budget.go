package requests

import (
	"fmt"
	"time"
)

// Budget is the time that a request may use in all, for lists and explanations. The zero
// value is no limit.
type Budget struct {
	// By is the option that the limit comes from, such as max_time.
	By string `json:"by"`
	// Allowed is the time from the arrival of the request to its end, Left the rest of it.
	Allowed time.Duration `json:"allowed_ns"`
	Left    time.Duration `json:"left_ns"`

	// Decided: the request was rejected or ended because of this limit.
	Decided bool `json:"-"`
	// Wait and Run are the pool's predictions when the request came to the queue, zero
	// without one.
	Wait time.Duration `json:"-"`
	Run  time.Duration `json:"-"`
}

// OrNil returns nil for no limit.
func (b Budget) OrNil() *Budget {
	if b.By == "" {
		return nil
	}
	return &b
}

// sentence describes the limit because of which the request was rejected or ended.
func (b *Budget) sentence() string {
	text := fmt.Sprintf("Its time is limited to %s by `%s`", length(b.Allowed), b.By)
	switch {
	case b.Left == 0:
		return text + ", and was over"
	case b.Run == 0:
		return fmt.Sprintf("%s, and %s were left", text, length(b.Left))
	case b.Wait+b.Run > b.Left:
		needed, left := exceeding(b.Wait+b.Run, b.Left)
		return fmt.Sprintf("%s, and %s were left: it was to wait for %s and to run for %s, which makes %s",
			text, left, length(b.Wait), length(b.Run), needed)
	}
	return fmt.Sprintf("%s, and %s were left: too little for runs of %s", text, length(b.Left), length(b.Run))
}
