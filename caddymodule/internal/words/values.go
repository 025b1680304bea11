package words

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
)

// Values of words, as they are written in a Caddyfile, in a request to the admin
// endpoint, and on a command line. Errors name the word.

// ParseChoice reads one of a few words.
func ParseChoice(word, s string, allowed []string) (string, error) {
	if !slices.Contains(allowed, s) {
		return "", fmt.Errorf("bad %s value '%s': want %s", word, s, strings.Join(allowed, " or "))
	}
	return s, nil
}

// Counts are the numbers that a word takes.
type Counts struct {
	Least, Most int
	MayBeOff    bool
}

// ParseCount reads a whole number, or "off" where that may be.
func ParseCount(word, s string, c Counts) (int, error) {
	if s == "off" && c.MayBeOff {
		return Off, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < c.Least || n > c.Most {
		return 0, fmt.Errorf("bad %s value '%s': want a whole number from %d to %d%s", word, s, c.Least, c.Most, orOff(c.MayBeOff))
	}
	return n, nil
}

// ParseDuration reads a positive duration, or "off" where that may be.
func ParseDuration(word, s string, mayBeOff bool) (caddy.Duration, error) {
	if s == "off" && mayBeOff {
		return Off, nil
	}
	t, err := caddy.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("bad %s value '%s': want a duration such as 10s%s", word, s, orOff(mayBeOff))
	}
	if t < time.Nanosecond {
		return 0, fmt.Errorf("bad %s value '%s': want more than zero%s", word, s, orOff(mayBeOff))
	}
	return caddy.Duration(t), nil
}

// ParseSize reads a number of bytes.
func ParseSize(word, s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > MaxSize {
		return 0, fmt.Errorf("bad %s value '%s': want a size such as 256KiB", word, s)
	}
	return int64(n), nil
}

// ParseErrorStatus reads a status code that says that something is wrong.
func ParseErrorStatus(word, s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 400 || n > 599 {
		return 0, fmt.Errorf("bad %s value '%s': want an error status from 400 to 599", word, s)
	}
	return n, nil
}

func orOff(mayBeOff bool) string {
	if mayBeOff {
		return ", or 'off'"
	}
	return ""
}
