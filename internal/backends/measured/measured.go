// Package measured has the results of the tests with real servers: the file
// docs/backends.json, which they write, and the table of docs/backends.md.
package measured

import (
	"fmt"

	"github.com/caddy-offload/caddy-offload/internal/jsonfile"
)

// Row has the results of one set-up of a server.
type Row struct {
	// Setup is the name of the set-up.
	Setup string `json:"setup"`
	// Backend is the value of --backend for the server; empty: it has none.
	Backend string `json:"backend,omitempty"`
	// Versions of its programs.
	Versions string `json:"versions"`
	// Missing is the reason why the server was not measured; all other results are then
	// empty.
	Missing string `json:"missing,omitempty"`
	// Stops means that a handler ends soon after its client has left.
	Stops bool `json:"stops"`
	// Overlap means that the next request begins while the handler of a client that has
	// left goes on.
	Overlap bool `json:"overlap"`
	// Waiting says what happens to its waiting requests when their clients leave.
	Waiting Waiting `json:"waiting,omitempty"`
	// Idle is the time until it closes a connection without requests.
	Idle Idle `json:"idle"`
	// Blocked says what happens to a request that arrives on an idle connection while the
	// event loop is blocked for longer than Idle; empty: there is no loop, or Idle is too
	// long.
	Blocked Fate `json:"blocked,omitempty"`
	// Recycled has the results for workers that end after some requests; nil: the server
	// has none.
	Recycled *Recycled `json:"recycled,omitempty"`
	// Fast is the wait of requests to a fast route while runs block the event loop; nil:
	// runs do not block it.
	Fast *Fast `json:"fast,omitempty"`
	// Through has the results of a burst through offload, with the Caddyfile of the page.
	Through Through `json:"through"`
}

// Waiting says what happens to requests that wait in a server when their clients leave.
type Waiting string

// Fates of waiting requests.
const (
	RunAll  Waiting = "all"     // they run when a worker is free
	RunNone Waiting = "none"    // the server detects that their client has left
	AtOnce  Waiting = "at once" // nothing waits there
)

// Fate is what happens to a request that is sent before the server closes the idle
// connection.
type Fate string

// Fates.
const (
	Served Fate = "served"
	Lost   Fate = "lost"
)

// Idle is the time until a server closes a connection without requests.
type Idle struct {
	// Seconds until the close; 0 if another field describes it.
	Seconds float64 `json:"seconds,omitempty"`
	// Never is the number of seconds after which the connection was still open.
	Never float64 `json:"open_after,omitempty"`
	// Each means that the server closes a connection after one request.
	Each bool `json:"one_request_each,omitempty"`
	// Announced means that a Keep-Alive field contains the time.
	Announced bool `json:"announced,omitempty"`
}

// Recycled counts POST requests, sent over kept connections and over fresh ones.
type Recycled struct {
	Sent      int `json:"sent"`
	Lost      int `json:"lost"`
	LostFresh int `json:"lost_on_fresh_connections"`
}

// Fast is how long requests to a fast route wait while eight clients send requests to a
// route that blocks the event loop. The unit is one blocking run; the slowest request of a
// hundred is left out, and the better of two measurements counts.
type Fast struct {
	// Plain is the wait without offload.
	Plain float64 `json:"without"`
	// Kept is the wait through offload with one permit, over kept connections to the
	// server.
	Kept float64 `json:"kept_connections"`
	// Fresh is the wait through offload with one permit, over a new connection to the
	// server for each request.
	Fresh float64 `json:"fresh_connections"`
}

// Through has the results of a burst through offload, during which some clients leave.
type Through struct {
	Limit  int `json:"limit"`
	Inside int `json:"inside"` // at the same time, at most
	Stayed int `json:"stayed"` // clients that did not leave
	Served int `json:"served"` // of those that stayed
}

// Result is the whole file.
type Result struct {
	// Day of the measurement.
	Day string `json:"day"`
	// Rows in the order of the page.
	Rows []Row `json:"rows"`
}

// Read reads a file.
func Read(path string) (Result, error) {
	r, err := jsonfile.Read[Result](path)
	if err != nil {
		return r, fmt.Errorf("reading the measurements: %w", err)
	}
	return r, nil
}

// Write writes a file.
func (r Result) Write(path string) error {
	if err := jsonfile.Write(path, r); err != nil {
		return fmt.Errorf("writing the measurements: %w", err)
	}
	return nil
}
