package outcome

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// RetryAfter returns for how long the backend of an answer wants to be left alone by its field
// Retry-After, which is a number of seconds or a date. It is zero without one that is valid and
// in the future.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds > int(offloader.MaxRetryAfter/time.Second) {
			return offloader.MaxRetryAfter // too many digits
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), offloader.MaxRetryAfter)
}
