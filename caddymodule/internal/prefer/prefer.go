// Package prefer reads the preferences of clients (RFC 7240) that concern this project:
// whether a client accepts an interim answer instead of the final one, and how long it waits.
package prefer

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Longest is the longest time that a client can prefer to wait. Longer ones count as this one.
const Longest = 366 * 24 * time.Hour

// Preferences are those of a request. The zero value is none.
type Preferences struct {
	// Async: the client accepts an answer that says where the final one will be.
	Async bool
	// Wait is the time that the client waits for an answer. It is valid if Waits is true.
	Wait  time.Duration
	Waits bool
}

// Of reads the preferences from all fields of a request. The first one of a name counts.
// Others, and those that are not written as the standard says, are ignored.
func Of(h http.Header) (p Preferences) {
	fields := h["Prefer"]
	if len(fields) == 0 {
		return p
	}
	seen := false
	for _, field := range fields {
		for preference := range split(field) {
			name, value := cut(preference)
			switch {
			case strings.EqualFold(name, "respond-async"):
				p.Async = true
			case strings.EqualFold(name, "wait") && !seen:
				seen = true
				p.Wait, p.Waits = seconds(value)
			}
		}
	}
	return p
}

// seconds reads a whole number.
func seconds(text string) (time.Duration, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || n >= int(Longest/time.Second) {
		return Longest, true // too many digits
	}
	return time.Duration(n) * time.Second, true
}

// split yields the elements of a field that is a list. Commas in quoted strings are part of
// an element.
func split(field string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for field != "" {
			end := endOfElement(field)
			if !yield(field[:end]) {
				return
			}
			field = field[min(end+1, len(field)):]
		}
	}
}

// endOfElement returns the place of the first comma outside of a quoted string, or the
// length.
func endOfElement(field string) int {
	quoted := false
	for i := 0; i < len(field); i++ {
		switch {
		case field[i] == '"':
			quoted = !quoted
		case field[i] == '\\' && quoted:
			i++
		case field[i] == ',' && !quoted:
			return i
		}
	}
	return len(field)
}

// cut returns the name and the value of a preference without its parameters.
func cut(preference string) (name, value string) {
	preference, _, _ = strings.Cut(preference, ";")
	name, value, _ = strings.Cut(preference, "=")
	value = strings.Trim(value, " \t")
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return strings.Trim(name, " \t"), value
}
