package caddymodule

import (
	"math"
	"slices"
	"strconv"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// block reads the words of one Caddyfile block. Each of its methods consumes
// the whole line of a word.
type block struct {
	d    *caddyfile.Dispenser
	word string
	at   caddyfile.Dispenser // a copy that stays at word, for its line
	seen map[string]bool
}

// maxSize keeps the sum of two sizes within an int64, maxCount a count within
// any int.
const (
	maxSize  = math.MaxInt64 / 2
	maxCount = math.MaxInt32
)

// next moves to the next word of the block, and refuses one that comes twice.
func (b *block) next(nesting int) (bool, error) {
	if !b.d.NextBlock(nesting) {
		return false, nil
	}
	before := b.word
	b.word, b.at = b.d.Val(), *b.d
	if b.word == "{" {
		return false, b.d.Errf("unexpected '{': '%s' takes no block here", before)
	}
	if b.seen[b.word] {
		return false, b.d.Errf("'%s' is set twice", b.word)
	}
	if b.seen == nil {
		b.seen = make(map[string]bool)
	}
	b.seen[b.word] = true
	return true, nil
}

// text reads the only argument of the line.
func (b *block) text() (string, error) {
	var s string
	if !b.d.AllArgs(&s) {
		return "", b.at.Errf("wrong argument count: '%s' takes one value", b.word)
	}
	return s, nil
}

// flag reads a word without arguments.
func (b *block) flag() error {
	if b.d.NextArg() {
		return b.at.Errf("wrong argument count: '%s' takes no value", b.word)
	}
	return nil
}

// choice reads one of a few words.
func (b *block) choice(allowed ...string) (string, error) {
	return read(b, func(s string) (string, error) { return parseChoice(b.word, s, allowed) })
}

// count reads a whole number of at least least, or "off" where that may be.
func (b *block) count(least int, mayBeOff bool) (int, error) {
	return b.countUpTo(least, maxCount, mayBeOff)
}

func (b *block) countUpTo(least, most int, mayBeOff bool) (int, error) {
	return read(b, func(s string) (int, error) { return parseCount(b.word, s, counts{least, most, mayBeOff}) })
}

// errorStatus reads a status code that says that something is wrong.
func (b *block) errorStatus() (int, error) {
	s, err := b.text()
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 400 || n > 599 {
		return 0, b.d.Errf("bad %s value '%s': want an error status from 400 to 599", b.word, s)
	}
	return n, nil
}

// duration reads a positive duration, or "off" where that may be.
func (b *block) duration(mayBeOff bool) (caddy.Duration, error) {
	return read(b, func(s string) (caddy.Duration, error) { return parseDuration(b.word, s, mayBeOff) })
}

// read reads the only argument of the line, and adds the line to an error.
func read[T any](b *block, parse func(string) (T, error)) (T, error) {
	var none T
	s, err := b.text()
	if err != nil {
		return none, err
	}
	v, err := parse(s)
	if err != nil {
		return none, b.d.WrapErr(err)
	}
	return v, nil
}

// ratio reads a share above 0 and up to 1, or "off".
func (b *block) ratio() (float64, error) {
	s, err := b.text()
	if err != nil {
		return 0, err
	}
	if s == "off" {
		return off, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0 && f <= 1) {
		return 0, b.d.Errf("bad %s value '%s': want a number above 0 and up to 1, or 'off'", b.word, s)
	}
	return f, nil
}

// size reads the current argument as a number of bytes.
func (b *block) size() (int64, error) {
	n, err := humanize.ParseBytes(b.d.Val())
	if err != nil || n > maxSize {
		return 0, b.d.Errf("bad %s value '%s': want a size such as 256KiB", b.word, b.d.Val())
	}
	return int64(n), nil
}

// oneSize reads the only argument of the line as a number of bytes above zero, or
// as "off" where that may be.
func (b *block) oneSize(mayBeOff bool) (int64, error) {
	s, err := b.text()
	if err != nil {
		return 0, err
	}
	if s == "off" && mayBeOff {
		return off, nil
	}
	n, err := b.size()
	if err == nil && n == 0 {
		return 0, b.d.Errf("bad %s value '%s': want more than zero%s", b.word, s, orOff(mayBeOff))
	}
	return n, err
}

// bounds reads the size in memory and, if it is there, the size of the file.
func (b *block) bounds() (*SpoolBounds, error) {
	if !b.d.NextArg() {
		return nil, b.boundsCount()
	}
	var s SpoolBounds
	var err error
	if b.d.Val() == "off" {
		s.Off = true
	} else if s.Memory, err = b.size(); err != nil {
		return nil, err
	} else if b.d.NextArg() {
		if s.File, err = b.size(); err != nil {
			return nil, err
		}
	}
	if b.d.NextArg() {
		return nil, b.boundsCount()
	}
	if !s.Off && s.Memory+s.File <= 0 {
		return nil, b.d.Errf("bad %s: nothing would fit; use 'off' to keep nothing", b.word)
	}
	return &s, nil
}

func (b *block) boundsCount() error {
	return b.at.Errf("wrong argument count: '%s' takes a size in memory and perhaps one in a file, or 'off' alone", b.word)
}

// unrecognized refuses a word, and says where it belongs if it is one of ours.
func unrecognized(d *caddyfile.Dispenser, block string) error {
	word, hint := d.Val(), ""
	for _, home := range []struct {
		words []string
		text  string
	}{
		{poolWords, ": it belongs to the block of a pool"},
		{breakerWords, ": it belongs to the block of 'breaker'"},
		{slices.Concat(routeWords, []string{"name"}), ": it belongs to the block of an 'offload' directive"},
		{spoolWords, ": it belongs to the block of 'spool' in the global option 'offload'"},
		{[]string{"pool", "spool", "explain"}, ": it belongs to the global option 'offload'"},
	} {
		if slices.Contains(home.words, word) {
			hint = home.text
		}
	}
	return d.Errf("unrecognized subdirective '%s' of %s%s", word, block, hint)
}
