package crashtest

import (
	"bytes"
	"encoding/json"
	"os"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// line is a line of the journal.
type line struct {
	Boot int    // number of the child
	What string // one of the constants below
	Key  int    // number of the submission
	ID   jobs.ID
	// Attempt and how it has ended.
	Attempt int        `json:",omitempty"`
	Class   jobs.Class `json:",omitempty"`
	Note    string     `json:",omitempty"`
}

const (
	submitted = "submitted" // before the call of Accept
	accepted  = "accepted"  // after it
	rejected  = "rejected"
	started   = "started"   // after the call of Offer.Start
	ended     = "ended"     // before the executor returns
	cancelled = "cancelled" // after the call of Cancel, which says that the job has ended
	delivered = "delivered" // the message of a webhook; the note is its ID
	wrong     = "wrong"     // what must not happen
)

// journal is a file to which each line is added by one system call, so that lines survive the
// end of the process. A line is cut short if the process is killed during the call.
type journal struct {
	boot int
	file *os.File
}

func openJournal(path string, boot int) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.WriteString("\n") // ends a line that was cut short
	}
	return &journal{boot, f}, err
}

func (j *journal) add(l line) {
	l.Boot = j.boot
	text, err := json.Marshal(l)
	if err == nil {
		_, err = j.file.Write(append(text, '\n'))
	}
	if err != nil {
		panic(err)
	}
}

// lines returns the lines of the journal that are complete.
func (s *stage) lines() []line {
	s.Helper()
	text, err := os.ReadFile(s.journal)
	if err != nil {
		s.Fatal(err)
	}
	var all []line
	cut := 0
	for one := range bytes.Lines(text) {
		var l line
		switch err := json.Unmarshal(one, &l); {
		case len(one) == 1:
		case err != nil:
			cut++
		default:
			all = append(all, l)
		}
	}
	if cut > s.boots {
		s.Fatalf("%d lines of the journal were cut short in %d boots", cut, s.boots)
	}
	return all
}
