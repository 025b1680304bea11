//go:build integration

package backends

import (
	"os"
	"strings"
	"testing"
)

// journal is the file that a backend writes what goes on inside it to: the order of
// its lines is the order of what happened.
type journal string

// inside returns how many requests of a scenario began, how many of them have not
// ended, and how many were inside at once.
func (j journal) inside(t *testing.T, scenario string) (began, now, most int) {
	t.Helper()
	text, err := os.ReadFile(string(j))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		word, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(id, scenario+"-") {
			continue
		}
		switch word {
		case "start":
			began++
			now++
		case "end":
			now--
		default:
			t.Fatalf("the journal has a line %q", line)
		}
		most = max(most, now)
	}
	return began, now, most
}
