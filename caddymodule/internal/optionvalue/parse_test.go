package optionvalue

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// check compares the value and the error of a function that parses.
func check[T comparable](t *testing.T, got T, err error, want T, problem string) {
	t.Helper()
	switch {
	case problem == "" && (err != nil || got != want):
		t.Errorf("got %v, %v, want %v", got, err, want)
	case problem != "" && (err == nil || !strings.Contains(err.Error(), problem)):
		t.Errorf("got %v, %v, want an error with %q", got, err, problem)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	for text, test := range map[string]struct {
		counts  Counts
		want    int
		problem string
	}{
		"5":          {AtLeast(1, false), 5, ""},
		"off":        {AtLeast(1, true), Off, ""},
		"0":          {AtLeast(1, true), 0, "bad n value '0': want a whole number from 1 to 2147483647, or 'off'"},
		" 5":         {AtLeast(1, false), 0, "bad n value ' 5': want a whole number from 1 to 2147483647"},
		"11":         {Counts{Least: 1, Most: 10}, 0, "want a whole number from 1 to 10"},
		"2147483648": {AtLeast(0, false), 0, "to 2147483647"},
		"1.5":        {AtLeast(0, false), 0, "want a whole number"},
	} {
		got, err := ParseCount("n", text, test.counts)
		check(t, got, err, test.want, test.problem)
	}
	_, err := ParseCount("n", "off", AtLeast(1, false))
	check(t, 0, err, 0, "bad n value 'off'")
}

func TestShares(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{"0.5": 0.5, "1": 1, "off": Off} {
		got, err := ParseShare("ratio", text)
		check(t, got, err, want, "")
	}
	for _, text := range []string{"0", "1.1", "-1", "NaN", "half"} {
		got, err := ParseShare("ratio", text)
		check(t, got, err, 0, "bad ratio value '"+text+"': want a number above 0 and up to 1, or 'off'")
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"1m30s": 90 * time.Second, "1d": 24 * time.Hour, "off": Off} {
		got, err := ParseDuration("wait", text, true)
		check(t, got, err, caddy.Duration(want), "")
	}
	for text, problem := range map[string]string{
		"0s": "want more than zero, or 'off'", "-1s": "want more than zero, or 'off'", "5": "want a duration such as 10s, or 'off'",
	} {
		got, err := ParseDuration("wait", text, true)
		check(t, got, err, 0, problem)
	}
	_, err := ParseDuration("wait", "off", false)
	check(t, 0, err, 0, "bad wait value 'off': want a duration such as 10s")
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "1KiB": 1024, "1KB": 1000, "7": 7} {
		got, err := ParseSize("dir", text)
		check(t, got, err, want, "")
	}
	for _, text := range []string{"off", "-1", "much", "8EiB"} {
		got, err := ParseSize("dir", text)
		check(t, got, err, 0, "bad dir value '"+text+"': want a size such as 256KiB")
	}
	got, err := ParseLimit("rate", "off", true)
	check(t, got, err, Off, "")
	got, err = ParseLimit("rate", "0", true)
	check(t, got, err, 0, "bad rate value '0': want more than zero, or 'off'")
	got, err = ParseLimit("rate", "off", false)
	check(t, got, err, 0, "want a size")
}

func TestErrorStatuses(t *testing.T) {
	t.Parallel()
	got, err := ParseErrorStatus("status", "503")
	check(t, got, err, 503, "")
	for _, text := range []string{"200", "399", "600", "busy"} {
		got, err := ParseErrorStatus("status", text)
		check(t, got, err, 0, "bad status value '"+text+"': want an error status from 400 to 599")
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	if got := OrDefault(0, 8); got != 8 {
		t.Errorf("zero is %d", got)
	}
	if got := OrDefault(Off, 8); got != 0 {
		t.Errorf("off is %d", got)
	}
	if got := OrDefault(caddy.Duration(Off), 8); got != 0 {
		t.Errorf("off is %d", got)
	}
	if got := OrDefault("", "a"); got != "a" {
		t.Errorf("no text is %q", got)
	}
	if got := OrDefault(5, 8); got != 5 {
		t.Errorf("five is %d", got)
	}
}
