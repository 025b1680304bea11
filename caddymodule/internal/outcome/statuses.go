package outcome

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Statuses are those of answers that count as failures of the backend. The zero value is
// the default, which is the class 5xx. That class is without 501 and 505: a backend that is
// well gives them to a request that it does not support. They count if they are listed by
// themselves.
type Statuses struct {
	text   string // as it was written, empty for the default
	client bool   // the class 4xx
	server bool   // the class 5xx
	codes  []int  // those that are listed by themselves
}

// ParseStatuses reads codes and classes with spaces in between, such as "5xx 429". An empty
// text is the default.
func ParseStatuses(text string) (s Statuses, err error) {
	words := strings.Fields(text)
	for i, word := range words {
		if slices.Contains(words[:i], word) {
			return Statuses{}, fmt.Errorf("'%s': listed twice", word)
		}
		if err := s.add(word); err != nil {
			return Statuses{}, err
		}
	}
	s.text = strings.Join(words, " ")
	if s.text == offloader.DefaultStatuses {
		return Statuses{}, nil
	}
	return s, nil
}

// add adds a code or a class.
func (s *Statuses) add(word string) error {
	code, err := strconv.Atoi(word)
	switch {
	case word == "4xx":
		s.client = true
	case word == "5xx":
		s.server = true
	case err != nil || code < 400 || code > 599:
		return fmt.Errorf("'%s': want codes from 400 to 599, or the classes 4xx and 5xx", word)
	default:
		s.codes = append(s.codes, code)
	}
	return nil
}

// String returns the codes and classes as ParseStatuses reads them.
func (s Statuses) String() string {
	if s.text == "" {
		return offloader.DefaultStatuses
	}
	return s.text
}

// Failure reports whether an answer with that status counts as a failure.
func (s Statuses) Failure(status int) bool {
	switch {
	case status < 400:
		return false
	case status < 500:
		return s.client || slices.Contains(s.codes, status)
	case status == http.StatusNotImplemented, status == http.StatusHTTPVersionNotSupported:
		return slices.Contains(s.codes, status)
	}
	return s.server || s.text == "" || slices.Contains(s.codes, status)
}
