// Package measured is what tests with real servers have seen of them: the file
// docs/backends.json, which they write, and the table of docs/backends.md.
package measured

import (
	"encoding/json"
	"fmt"
	"os"
)

// Row is what was seen of one set-up of a server.
type Row struct {
	// Setup is its name.
	Setup string `json:"setup"`
	// Backend is what --backend calls it; empty: it has no name there.
	Backend string `json:"backend,omitempty"`
	// Versions of the programs that it consists of.
	Versions string `json:"versions"`
	// Missing says why it was not measured; then all that follows is empty.
	Missing string `json:"missing,omitempty"`
	// Stops says that a handler ends soon after its client has left.
	Stops bool `json:"stops"`
	// Overlap says that the next request begins while the handler of a client that has
	// left goes on.
	Overlap bool `json:"overlap"`
	// Waiting is what becomes of requests that wait in it when their clients leave.
	Waiting Waiting `json:"waiting,omitempty"`
	// Idle is when it closes a connection without requests.
	Idle Idle `json:"idle"`
	// Blocked is what becomes of a request that arrives on an idle connection while the
	// event loop is blocked for longer than Idle; empty: no such loop, or none so short.
	Blocked Fate `json:"blocked,omitempty"`
	// Recycled are requests that met workers which end after some requests; nil: it has
	// none.
	Recycled *Recycled `json:"recycled,omitempty"`
	// Fast is how long a fast route waits behind runs that block the loop; nil: they do
	// not.
	Fast *Fast `json:"fast,omitempty"`
	// Through is a burst through offload, with the Caddyfile of the page.
	Through Through `json:"through"`
}

// Waiting is what becomes of requests that wait in a server when their clients leave.
type Waiting string

// What becomes of them.
const (
	RunAll  Waiting = "all"     // they run when there is room
	RunNone Waiting = "none"    // they are found to be without a client
	AtOnce  Waiting = "at once" // nothing waits there
)

// Fate of a request that was sent in time.
type Fate string

// Fates.
const (
	Served Fate = "served"
	Lost   Fate = "lost"
)

// Idle is when a server closes a connection that has no requests.
type Idle struct {
	// Seconds until then; 0 if one of the others says more.
	Seconds float64 `json:"seconds,omitempty"`
	// Never says that it was still open after a time of so many seconds.
	Never float64 `json:"open_after,omitempty"`
	// Each says that each request has a connection of its own.
	Each bool `json:"one_request_each,omitempty"`
	// Announced says that a Keep-Alive field tells the time.
	Announced bool `json:"announced,omitempty"`
}

// Recycled counts POST requests, sent over kept connections and over fresh ones.
type Recycled struct {
	Sent      int `json:"sent"`
	Lost      int `json:"lost"`
	LostFresh int `json:"lost_on_fresh_connections"`
}

// Fast is how long a fast route waits, but for the slowest request of a hundred, while
// eight clients want a route that blocks the loop: the better of two tries, in blocking runs.
type Fast struct {
	// Plain is without offload.
	Plain float64 `json:"without"`
	// Kept is with one permit, over kept connections.
	Kept float64 `json:"kept_connections"`
	// Fresh is with one permit, over a connection for each request.
	Fresh float64 `json:"fresh_connections"`
}

// Through is what came of a burst, in which some clients leave, through offload.
type Through struct {
	Limit  int `json:"limit"`
	Inside int `json:"inside"` // at once, at most
	Stayed int `json:"stayed"` // clients that did not leave
	Served int `json:"served"` // of these
}

// Result is the whole file.
type Result struct {
	// Day of the measurement.
	Day string `json:"day"`
	// Rows in the order of the page.
	Rows []Row `json:"rows"`
}

// Read reads a file.
func Read(path string) (r Result, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("reading what was measured: %w", err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("reading what was measured: %w", err)
	}
	return r, nil
}

// Write writes a file.
func (r Result) Write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing what was measured: %w", err)
	}
	return nil
}
