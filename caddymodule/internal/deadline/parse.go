package deadline

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/grpccall"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/prefer"
)

// longest is the longest time that a client can allow. Longer ones count as this one.
const longest = prefer.Longest

// Parse reads the time that a client allows. The formats are a number of seconds that may
// have decimals, such as 2.5; a duration of Go, such as 1500ms or 1m30s; and the format of
// grpc-timeout, such as 2S. Where the last two differ, Go's counts: 5m is five minutes. ok
// is false for any other text, also for a number with a sign.
func Parse(text string) (d time.Duration, ok bool) {
	text = strings.Trim(text, " \t")
	if text == "" || !isDigit(text[0]) {
		return 0, false
	}
	if seconds, ok := parseSeconds(text); ok {
		return seconds, true
	}
	if d, err := time.ParseDuration(text); err == nil {
		return min(d, longest), true
	}
	if d, ok := grpccall.ParseTimeout(text); ok {
		return min(d, longest), true
	}
	return 0, false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// parseSeconds reads a number of seconds: digits with at most one decimal point between
// them.
func parseSeconds(text string) (time.Duration, bool) {
	whole, part, pointed := strings.Cut(text, ".")
	if !areDigits(whole) || pointed && !areDigits(part) {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds >= longest.Seconds() {
		return longest, true // too many digits
	}
	return time.Duration(seconds * float64(time.Second)), true
}

func areDigits(text string) bool {
	for i := range len(text) {
		if !isDigit(text[i]) {
			return false
		}
	}
	return text != ""
}

// PreferredWait returns the time of the preference "wait" (RFC 7240, section 4.3). ok is
// false without a valid one, and if the client also prefers "respond-async": then the time
// is no limit of the work, but the time after which the client wants an interim answer.
func PreferredWait(h http.Header) (d time.Duration, ok bool) {
	p := prefer.Of(h)
	if p.Async || !p.Waits {
		return 0, false
	}
	return p.Wait, true
}
