package jobpage

import (
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/figures"
)

// none is shown in place of a missing number.
const none = "–"

func brief(d time.Duration) string { return figures.Brief(d, none) }

func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// words returns a value of a fixed list for readers.
func words(value string) string { return strings.ReplaceAll(value, "_", " ") }

// moment returns a time of the server, empty for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}
