// Package optionvalue parses the values of options of a Caddyfile, of a request to the
// admin endpoint, and of a command line. Errors name the option.
package optionvalue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
)

// ParseChoice returns s if it is one of the allowed values.
func ParseChoice(option, s string, allowed []string) (string, error) {
	if !slices.Contains(allowed, s) {
		return "", fmt.Errorf("bad %s value '%s': want %s", option, s, strings.Join(allowed, " or "))
	}
	return s, nil
}

// Counts are the whole numbers that an option allows.
type Counts struct {
	Least, Most int
	MayBeOff    bool
}

// AtLeast returns counts with a lower bound only.
func AtLeast(least int, mayBeOff bool) Counts {
	return Counts{Least: least, Most: MaxCount, MayBeOff: mayBeOff}
}

// ParseCount reads a whole number. It returns Off for "off" if c allows that.
func ParseCount(option, s string, c Counts) (int, error) {
	if s == "off" && c.MayBeOff {
		return Off, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < c.Least || n > c.Most {
		return 0, fmt.Errorf("bad %s value '%s': want a whole number from %d to %d%s", option, s, c.Least, c.Most, orOff(c.MayBeOff))
	}
	return n, nil
}

// ParseShare reads a share above 0 and up to 1. It returns Off for "off".
func ParseShare(option, s string) (float64, error) {
	if s == "off" {
		return Off, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0 && f <= 1) {
		return 0, fmt.Errorf("bad %s value '%s': want a number above 0 and up to 1, or 'off'", option, s)
	}
	return f, nil
}

// ParseDuration reads a positive duration. It returns Off for "off" if that is allowed.
func ParseDuration(option, s string, mayBeOff bool) (caddy.Duration, error) {
	if s == "off" && mayBeOff {
		return Off, nil
	}
	t, err := caddy.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("bad %s value '%s': want a duration such as 10s%s", option, s, orOff(mayBeOff))
	}
	if t < time.Nanosecond {
		return 0, moreThanZero(option, s, mayBeOff)
	}
	return caddy.Duration(t), nil
}

// ParseSize reads a number of bytes, which may be zero.
func ParseSize(option, s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > MaxSize {
		return 0, fmt.Errorf("bad %s value '%s': want a size such as 256KiB", option, s)
	}
	return int64(n), nil
}

// ParseLimit reads a number of bytes above zero. It returns Off for "off" if that is
// allowed.
func ParseLimit(option, s string, mayBeOff bool) (int64, error) {
	if s == "off" && mayBeOff {
		return Off, nil
	}
	n, err := ParseSize(option, s)
	if err == nil && n == 0 {
		return 0, moreThanZero(option, s, mayBeOff)
	}
	return n, err
}

// ParseErrorStatus reads a status code of an error response.
func ParseErrorStatus(option, s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 400 || n > 599 {
		return 0, fmt.Errorf("bad %s value '%s': want an error status from 400 to 599", option, s)
	}
	return n, nil
}

func moreThanZero(option, s string, mayBeOff bool) error {
	return fmt.Errorf("bad %s value '%s': want more than zero%s", option, s, orOff(mayBeOff))
}

func orOff(mayBeOff bool) string {
	if mayBeOff {
		return ", or 'off'"
	}
	return ""
}

// bodyPlaceholders are placeholders that read the request's body into memory, before it is
// spooled.
var bodyPlaceholders = []string{"{http.request.body}", "{http.request.body_base64}"}

// CheckPlaceholder rejects a text without a placeholder, and one that reads the body of the
// request.
func CheckPlaceholder(option, s string) error {
	if !HasPlaceholder(s) {
		return fmt.Errorf("bad %s value '%s': want a placeholder such as {client_ip} or {http.request.header.X-Tenant}", option, s)
	}
	return CheckNoBody(option, s)
}

// CheckNoBody rejects a text with a placeholder that reads the body of the request.
func CheckNoBody(option, s string) error {
	for _, body := range bodyPlaceholders {
		if strings.Contains(s, body) {
			return fmt.Errorf("bad %s value '%s': the body of the request is not read for this; want a placeholder such as {http.request.header.X-Tenant}", option, s)
		}
	}
	return nil
}

// HasPlaceholder reports whether a text has a placeholder.
func HasPlaceholder(s string) bool {
	_, rest, opened := strings.Cut(s, "{")
	return opened && strings.Contains(rest, "}")
}
