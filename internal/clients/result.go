package clients

import (
	"fmt"

	"github.com/caddy-offload/caddy-offload/internal/jsonfile"
)

// Row is what a client did for one call.
type Row struct {
	// Client is its name in [Catalogue].
	Client string `json:"client"`
	// Versions names the programs that the client consists of.
	Versions string `json:"versions"`
	// Method of the call.
	Method string `json:"method"`
	// Case is the name of the state of the pool.
	Case string `json:"case"`
	// Sends of the call.
	Sends int `json:"sends"`
	// GoesOn: the client had not ended when the test stopped observing it.
	GoesOn bool `json:"goes_on,omitempty"`
	// Pauses between an answer and the next send, in seconds.
	Pauses []float64 `json:"pauses,omitempty"`
	// Announced are the times to come back that it was sent before each pause, in seconds;
	// 0: none.
	Announced []float64 `json:"announced,omitempty"`
	// Obeys means that no pause was shorter than announced.
	Obeys bool `json:"obeys"`
	// Sees is what the caller sees in the end.
	Sees string `json:"sees"`
}

// Result is the whole file.
type Result struct {
	// Day of the recording.
	Day string `json:"day"`
	// Rows in the order of the page.
	Rows []Row `json:"rows"`
}

// Read reads a file.
func Read(path string) (Result, error) {
	r, err := jsonfile.Read[Result](path)
	if err != nil {
		return r, fmt.Errorf("reading the recorded results: %w", err)
	}
	return r, nil
}

// Write writes a file.
func (r Result) Write(path string) error {
	if err := jsonfile.Write(path, r); err != nil {
		return fmt.Errorf("writing the recorded results: %w", err)
	}
	return nil
}
