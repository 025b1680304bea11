// Package journal is what an upstream writes about its runs, in a file that outlives its
// process: a killed process cannot report its counters. The bench computes its figures from
// it, when the load is over.
package journal

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Header is the header field with the number of a request.
const Header = "X-Bench-Number"

// Kind is the kind of an entry.
type Kind string

// The kinds of entries.
const (
	Serves  Kind = "serves"  // a process has begun to serve
	Killed  Kind = "killed"  // the process was killed; the bench writes this
	Arrived Kind = "arrived" // a run has begun
	Read    Kind = "read"    // the body of its request has been read to the end
	Left    Kind = "left"    // the run is over, and its answer goes out now
	Well    Kind = "well"    // a health check has got a good answer
	Ill     Kind = "ill"     // a health check has got a bad answer
)

// Entry is one line.
type Entry struct {
	At     time.Time
	Kind   Kind
	Number int // of the request; 0: it has none
}

// Journal writes entries. A nil Journal writes nothing.
type Journal struct {
	mu   sync.Mutex // entries are in the order of their times
	file *os.File
}

// Open returns a journal that adds entries to the end of the file.
func Open(name string) (*Journal, error) {
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return &Journal{file: file}, nil
}

// Note adds an entry. Each entry is one write, so that those of several processes do not
// mix.
func (j *Journal) Note(kind Kind, number int) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := fmt.Fprintf(j.file, "%d %s %d\n", time.Now().UnixNano(), kind, number); err != nil {
		fmt.Fprintf(os.Stderr, "journal: %v\n", err)
	}
}

// Close closes the file.
func (j *Journal) Close() error {
	if j == nil {
		return nil
	}
	if err := j.file.Close(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// Load reads all entries of a file. A last line without an end is left out: its process was
// killed while it wrote.
func Load(name string) ([]Entry, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var entries []Entry
	for line := range strings.Lines(string(text[:bytes.LastIndexByte(text, '\n')+1])) {
		entry, err := parse(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("journal: line %q: %w", line, err)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

func parse(words []string) (Entry, error) {
	if len(words) != 3 {
		return Entry{}, fmt.Errorf("%d words, want 3", len(words))
	}
	at, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return Entry{}, err
	}
	number, err := strconv.Atoi(words[2])
	return Entry{At: time.Unix(0, at), Kind: Kind(words[1]), Number: number}, err
}
