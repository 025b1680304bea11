//go:build integration

package backends

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// journal is the file to which a backend writes its events: the order of its lines is the
// order of the events.
type journal string

// create makes the file. Servers that have dropped root may write to it.
func (j journal) create(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(string(j), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(string(j), 0o666); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}

// event is the beginning or the end of a request.
type event struct {
	word, id string
}

// events are those so far.
func (j journal) events(t *testing.T) []event {
	t.Helper()
	text, err := os.ReadFile(string(j))
	if err != nil {
		t.Fatal(err)
	}
	var all []event
	for line := range strings.Lines(string(text)) {
		word, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word != "start" && word != "end" {
			t.Fatalf("the journal has a line %q", line)
		}
		all = append(all, event{word, id})
	}
	return all
}

// at is the place of an event, -1 if it has not happened.
func (j journal) at(t *testing.T, word, id string) int {
	t.Helper()
	return slices.Index(j.events(t), event{word, id})
}

// inside returns how many requests of a scenario began, how many of them have not
// ended, and how many were inside at once.
func (j journal) inside(t *testing.T, scenario string) (began, now, most int) {
	t.Helper()
	for _, e := range j.events(t) {
		if !strings.HasPrefix(e.id, scenario+"-") {
			continue
		}
		if e.word == "start" {
			began++
			now++
		} else {
			now--
		}
		most = max(most, now)
	}
	return began, now, most
}
