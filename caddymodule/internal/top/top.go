// Package top shows the pools of a server on a terminal, and refreshes them. Keys sort,
// scroll, open a pool, and cancel one of its requests. The data comes from a [Source]; the
// package makes no request itself.
package top

import (
	"strings"
	"time"
)

// Source is the server.
type Source interface {
	// Pools returns the pools in their usual order.
	Pools() ([]Pool, error)
	// Requests returns the requests of a pool: first those that hold a permit, then those
	// that wait, in the order of service.
	Requests(pool string) ([]Request, error)
	// Cancel cancels a request, and returns a line about it.
	Cancel(id string) (string, error)
}

// Pool is a pool as it is shown.
type Pool struct {
	Name  string
	State string // of the pool and its breaker
	Level Level
	Notes string // unusual facts

	Running, Waiting, Oldest, MeanRun Figure
	Admitted, Rejected                uint64 // since the start
}

// Figure is a number in text, with its value and its share of its limit.
type Figure struct {
	Text  string
	Value float64
	Share float64 // from 0 to 1
}

// Request is a request as it is shown.
type Request struct {
	ID, Phase, Age, Client, Line, Notes string
}

// Level is the degree of attention that a pool needs.
type Level int

// The levels, from no attention to all.
const (
	Calm   Level = iota // nothing waits
	Busy                // requests wait, or the pool warms up
	Halted              // paused, drained or probed by an operator or the breaker
	Broken              // the breaker is open
)

// View has the pools at one moment.
type View struct {
	At    time.Time
	Pools []Pool
}

// Bar shows a share in this width.
func Bar(share float64, width int) string {
	filled := min(int(share*float64(width)+0.999), width)
	return strings.Repeat("#", filled) + strings.Repeat(".", width-filled)
}
