package main

import (
	"fmt"
	"os"
	"strings"
)

// summary is the result of one or more runs.
type summary struct {
	passed  int
	allowed int // skips on the allow list
	failed  []string
	skipped []string
	// last has lines of output by the name of the test or package.
	last map[string][]string
}

// green reports whether tests ran and all tests passed that were not allowed
// to be skipped.
func (s summary) green() bool {
	return s.passed > 0 && len(s.failed) == 0 && len(s.skipped) == 0
}

// text returns the summary for a reader, or as the closing line of a whole
// run.
func (s summary) text(closing bool) string {
	var b strings.Builder
	for _, name := range s.failed {
		fmt.Fprintf(&b, "failed: %s\n", name)
		for _, line := range s.last[name] {
			fmt.Fprintf(&b, "\t%s\n", strings.TrimRight(line, "\n"))
		}
	}
	for _, name := range s.skipped {
		fmt.Fprintf(&b, "skipped without leave: %s\n", name)
	}
	form := "tests: %d, of these failed: %d, skipped: %d"
	first := s.passed + len(s.failed) + len(s.skipped) + s.allowed
	if closing {
		form, first = "%d passed, %d failed, %d skipped", s.passed
	}
	fmt.Fprintf(&b, form, first, len(s.failed), len(s.skipped)+s.allowed)
	return b.String()
}

// readAllowed reads the allow list: one test per line, then the reason after
// a #. Without a file no test may be skipped.
func readAllowed(name string) (map[string]bool, error) {
	if name == "" {
		return nil, nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the allow list: %w", err)
	}
	allowed := make(map[string]bool)
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		id, reason, _ := strings.Cut(line, "#")
		id = strings.TrimSpace(id)
		if id == "" {
			continue
		}
		if strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s:%d: %s has no reason", name, number, id)
		}
		allowed[id] = true
	}
	return allowed, nil
}
