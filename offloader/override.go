package offloader

import "time"

// Override replaces single settings of a pool. A nil field leaves its setting as it is
// configured.
type Override struct {
	Concurrency *int
	Queue       *int
	MaxWait     *time.Duration
	Order       *Order
	Linger      *time.Duration
	PerKey      *int
	QueuePerKey *int
}

// on returns s with the overridden settings replaced.
func (o Override) on(s Settings) Settings {
	replace(&s.Concurrency, o.Concurrency)
	replace(&s.Queue, o.Queue)
	replace(&s.MaxWait, o.MaxWait)
	replace(&s.Order, o.Order)
	replace(&s.Linger, o.Linger)
	replace(&s.PerKey, o.PerKey)
	replace(&s.QueuePerKey, o.QueuePerKey)
	return s
}

// With returns o with the fields of other that are set.
func (o Override) With(other Override) Override {
	overlay(&o.Concurrency, other.Concurrency)
	overlay(&o.Queue, other.Queue)
	overlay(&o.MaxWait, other.MaxWait)
	overlay(&o.Order, other.Order)
	overlay(&o.Linger, other.Linger)
	overlay(&o.PerKey, other.PerKey)
	overlay(&o.QueuePerKey, other.QueuePerKey)
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

// Count returns the number of settings that are overridden.
func (o Override) Count() int {
	n := 0
	for _, overridden := range [...]bool{
		o.Concurrency != nil, o.Queue != nil, o.MaxWait != nil, o.Order != nil, o.Linger != nil, o.PerKey != nil, o.QueuePerKey != nil,
	} {
		if overridden {
			n++
		}
	}
	return n
}
