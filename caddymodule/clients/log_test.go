//go:build integration

package clients

import (
	"encoding/json"
	"math"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// send is one request of a call, as Caddy has logged it.
type send struct {
	began, ended float64 // seconds
	status       int
	fields       http.Header
}

// sends are those of each call, by its id, in their order.
func (p *proxy) sends(t *testing.T) map[string][]send {
	t.Helper()
	text, err := os.ReadFile(p.accessLog)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]send{}
	for line := range strings.Lines(string(text)) {
		var entry struct {
			TS       float64
			Duration float64
			Status   int
			Request  struct{ URI string }
			Fields   http.Header `json:"resp_headers"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		where, _, _ := strings.Cut(entry.Request.URI, "?")
		id := path.Base(where)
		all[id] = append(all[id], send{entry.TS - entry.Duration, entry.TS, entry.Status, entry.Fields})
	}
	for _, sends := range all {
		slices.SortFunc(sends, func(a, b send) int { return int(math.Copysign(1, a.began-b.began)) })
	}
	return all
}

// pauses are the times between an answer and the next send, in seconds.
func pauses(sends []send) []float64 {
	list := []float64{}
	for i := range len(sends) - 1 {
		list = append(list, math.Round(10*max(0, sends[i+1].began-sends[i].ended))/10)
	}
	return list
}

// announced are the times to come back, in seconds, without that of the last answer.
func announced(sends []send) []float64 {
	list := []float64{}
	for _, s := range sends[:max(0, len(sends)-1)] {
		list = append(list, s.announced().Seconds())
	}
	return list
}

// announced is the time to come back in the form that the client reads; zero: there is none.
func (s send) announced() time.Duration {
	switch {
	case s.fields.Get("Grpc-Status") != "":
		return milliseconds(s.fields.Get("Grpc-Retry-Pushback-Ms"))
	case s.fields.Get("Content-Type") == "text/event-stream": // the same as in its "retry:"
		return milliseconds(s.fields.Get("Retry-After-Ms"))
	}
	seconds, _ := strconv.Atoi(s.fields.Get("Retry-After"))
	return time.Duration(seconds) * time.Second
}

func milliseconds(text string) time.Duration {
	n, _ := strconv.Atoi(text)
	return time.Duration(n) * time.Millisecond
}

// early is how much earlier than announced a send may seem to be: timers and the log have
// their errors.
const early = 50 * time.Millisecond

// obeys reports whether no send of a call came before its time.
func obeys(sends []send) bool {
	for i := range len(sends) - 1 {
		if sends[i+1].began-sends[i].ended < (sends[i].announced() - early).Seconds() {
			return false
		}
	}
	return true
}
