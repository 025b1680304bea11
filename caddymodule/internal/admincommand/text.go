package admincommand

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/figures"
)

// Brief returns a duration in at most six characters.
func Brief(d time.Duration) string { return figures.Brief(d, "-") }

// Clean escapes text of a client for a terminal, which executes control characters.
func Clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}
