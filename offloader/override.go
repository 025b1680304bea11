package offloader

import (
	"strconv"
	"time"
)

// Override replaces single settings of a pool. What is nil is as configured.
type Override struct {
	Concurrency *int
	Queue       *int
	MaxWait     *time.Duration
	Order       *Order
	Linger      *time.Duration
}

// on returns s with what is overridden.
func (o Override) on(s Settings) Settings {
	replace(&s.Concurrency, o.Concurrency)
	replace(&s.Queue, o.Queue)
	replace(&s.MaxWait, o.MaxWait)
	replace(&s.Order, o.Order)
	replace(&s.Linger, o.Linger)
	return s
}

// With returns o and, over it, what other replaces.
func (o Override) With(other Override) Override {
	overlay(&o.Concurrency, other.Concurrency)
	overlay(&o.Queue, other.Queue)
	overlay(&o.MaxWait, other.MaxWait)
	overlay(&o.Order, other.Order)
	overlay(&o.Linger, other.Linger)
	return o
}

func overlay[T any](setting **T, by *T) {
	if by != nil {
		*setting = by
	}
}

func replace[T any](setting, by *T) {
	if by != nil {
		*setting = *by
	}
}

// Any reports whether anything is overridden.
func (o Override) Any() bool { return o != Override{} }

// replaced returns the values that s has for what is overridden, in the words of
// a configuration. It is nil if nothing is.
func (o Override) replaced(s Settings) map[string]string {
	if !o.Any() {
		return nil
	}
	all := make(map[string]string)
	note := func(overridden bool, name, value string) {
		if overridden {
			all[name] = value
		}
	}
	note(o.Concurrency != nil, "concurrency", numberOrOff(s.Concurrency))
	note(o.Queue != nil, "queue", strconv.Itoa(s.Queue))
	note(o.MaxWait != nil, "max_wait", durationOrOff(s.MaxWait))
	note(o.Order != nil, "order", s.Order.String())
	note(o.Linger != nil, "linger", durationOrOff(s.Linger))
	return all
}

func numberOrOff(n int) string {
	if n == 0 {
		return "off"
	}
	return strconv.Itoa(n)
}

func durationOrOff(d time.Duration) string {
	if d == 0 {
		return "off"
	}
	return d.String()
}
