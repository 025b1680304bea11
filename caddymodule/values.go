package caddymodule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Values of words, as they are written in a Caddyfile, in a request to the admin
// endpoint, and on a command line. Errors name the word.

func parseChoice(word, s string, allowed []string) (string, error) {
	if !slices.Contains(allowed, s) {
		return "", fmt.Errorf("bad %s value '%s': want %s", word, s, strings.Join(allowed, " or "))
	}
	return s, nil
}

// counts are the numbers that a word takes.
type counts struct {
	least, most int
	mayBeOff    bool
}

func parseCount(word, s string, c counts) (int, error) {
	if s == "off" && c.mayBeOff {
		return off, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < c.least || n > c.most {
		return 0, fmt.Errorf("bad %s value '%s': want a whole number from %d to %d%s", word, s, c.least, c.most, orOff(c.mayBeOff))
	}
	return n, nil
}

func parseDuration(word, s string, mayBeOff bool) (caddy.Duration, error) {
	if s == "off" && mayBeOff {
		return off, nil
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

func orOff(mayBeOff bool) string {
	if mayBeOff {
		return ", or 'off'"
	}
	return ""
}
