// Package output has the writers for the responses of jobs: one that stores a response, and
// one that sends it to the waiting client until the client was given a job instead.
package output

import (
	"net/http"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/message"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Attempt is where a response is stored: a [jobs.Attempt].
type Attempt interface {
	Begin(status int, header []jobs.Field) error
	Write(p []byte) (int, error)
	End(trailer []jobs.Field)
}

// Stored stores the response of an attempt. The zero value needs one before the response
// begins. It belongs to the goroutine of the run.
type Stored struct {
	attempt Attempt
	header  http.Header
	began   bool
	err     error
}

// To sets the attempt.
func (s *Stored) To(a Attempt) { s.attempt = a }

// Header returns the fields of the response.
func (s *Stored) Header() http.Header {
	if s.header == nil {
		s.header = make(http.Header)
	}
	return s.header
}

// WriteHeader begins the response. Informational ones are not stored.
func (s *Stored) WriteHeader(status int) {
	if s.began || status < http.StatusOK {
		return
	}
	s.began = true
	s.err = s.attempt.Begin(status, message.ResponseFields(s.Header()))
}

// Write stores bytes of the response.
func (s *Stored) Write(p []byte) (n int, err error) {
	s.WriteHeader(http.StatusOK)
	if s.err == nil {
		n, s.err = s.attempt.Write(p)
	}
	return n, s.err
}

// Flush does nothing: readers get bytes as soon as they are written.
func (s *Stored) Flush() {}

// End ends a response that is complete.
func (s *Stored) End() { s.attempt.End(message.TrailerFields(s.Header())) }

// Err returns the error because of which the response could not be stored.
func (s *Stored) Err() error { return s.err }

var (
	_ http.ResponseWriter = (*Stored)(nil)
	_ http.Flusher        = (*Stored)(nil)
	_ Attempt             = (*jobs.Attempt)(nil)
)
