// Package words reads the words of Caddyfile blocks: one word to a line, each at
// most once, with errors that name the word, the line and what it takes.
package words

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Off is what "off" means where a number is expected.
const Off = -1

// Bounds of numbers: a count fits into any int, a size can be added to another.
const (
	MaxCount = math.MaxInt32
	MaxSize  = math.MaxInt64 / 2
)

// Block is one block of a Caddyfile. Each of its methods but Next consumes the
// whole line of a word.
type Block struct {
	D    *caddyfile.Dispenser
	Word string
	At   caddyfile.Dispenser // a copy that stays at Word, for its line

	many []string // words that may come more than once
	seen map[string]bool
}

// New returns the block that d stands before. Words may come once, those listed
// here many times.
func New(d *caddyfile.Dispenser, many ...string) *Block {
	return &Block{D: d, many: many, seen: make(map[string]bool)}
}

// Next moves to the next word of the block, and refuses one that comes twice.
func (b *Block) Next(nesting int) (bool, error) {
	if !b.D.NextBlock(nesting) {
		return false, nil
	}
	before := b.Word
	b.Word, b.At = b.D.Val(), *b.D
	if b.Word == "{" {
		return false, b.D.Errf("unexpected '{': '%s' takes no block here", before)
	}
	if b.seen[b.Word] && !slices.Contains(b.many, b.Word) {
		return false, b.D.Errf("'%s' is set twice", b.Word)
	}
	b.seen[b.Word] = true
	return true, nil
}

// Has reports whether the block has had the word.
func (b *Block) Has(word string) bool { return b.seen[word] }

// Each calls read at each word until the block ends.
func (b *Block) Each(nesting int, read func() error) error {
	for {
		more, err := b.Next(nesting)
		if err != nil || !more {
			return err
		}
		if err := read(); err != nil {
			return err
		}
	}
}

// Text reads the only argument of the line.
func (b *Block) Text() (string, error) {
	var s string
	if !b.D.AllArgs(&s) {
		return "", b.At.Errf("wrong argument count: '%s' takes one value", b.Word)
	}
	return s, nil
}

// Name reads the only argument of the line, which must not be empty.
func (b *Block) Name() (string, error) {
	s, err := b.Text()
	if err == nil && s == "" {
		return "", b.At.Errf("the value of '%s' must not be empty", b.Word)
	}
	return s, err
}

// Texts reads all arguments of the line, one at least.
func (b *Block) Texts() ([]string, error) {
	all := b.D.RemainingArgs()
	if len(all) == 0 {
		return nil, b.At.Errf("wrong argument count: '%s' takes one value or more", b.Word)
	}
	return all, nil
}

// Flag reads a word without arguments.
func (b *Block) Flag() error {
	if b.D.NextArg() {
		return b.At.Errf("wrong argument count: '%s' takes no value", b.Word)
	}
	return nil
}

// Choice reads one of a few words.
func (b *Block) Choice(allowed ...string) (string, error) {
	s, err := b.Text()
	if err != nil {
		return "", err
	}
	if !slices.Contains(allowed, s) {
		return "", b.D.Errf("bad %s value '%s': want %s", b.Word, s, strings.Join(allowed, " or "))
	}
	return s, nil
}

// Choices reads some of a few words.
func (b *Block) Choices(allowed ...string) ([]string, error) {
	all, err := b.Texts()
	for _, s := range all {
		if !slices.Contains(allowed, s) {
			return nil, b.At.Errf("bad %s value '%s': want %s", b.Word, s, strings.Join(allowed, " or "))
		}
	}
	return all, err
}

// Count reads a whole number within bounds.
func (b *Block) Count(least, most int) (int, error) {
	s, err := b.Text()
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, b.D.Errf("bad %s value '%s': want a whole number from %d to %d", b.Word, s, least, most)
	}
	return n, nil
}

// Duration reads a positive duration, or "off" where that may be.
func (b *Block) Duration(mayBeOff bool) (caddy.Duration, error) {
	s, err := b.Text()
	if err != nil {
		return 0, err
	}
	if s == "off" && mayBeOff {
		return Off, nil
	}
	return b.ParseDuration(s, mayBeOff)
}

// ParseDuration reads s as the positive duration that a word takes.
func (b *Block) ParseDuration(s string, orOff bool) (caddy.Duration, error) {
	hint := ""
	if orOff {
		hint = ", or 'off'"
	}
	t, err := caddy.ParseDuration(s)
	if err != nil {
		return 0, b.D.Errf("bad %s value '%s': want a duration such as 10s%s", b.Word, s, hint)
	}
	if t < time.Nanosecond {
		return 0, b.D.Errf("bad %s value '%s': want more than zero%s", b.Word, s, hint)
	}
	return caddy.Duration(t), nil
}

// Size reads a number of bytes above zero.
func (b *Block) Size() (int64, error) { return b.SizeUpTo(MaxSize) }

// SizeUpTo reads a number of bytes above zero and up to most.
func (b *Block) SizeUpTo(most uint64) (int64, error) {
	s, err := b.Text()
	if err != nil {
		return 0, err
	}
	switch n, err := humanize.ParseBytes(s); {
	case err != nil || n > MaxSize:
		return 0, b.D.Errf("bad %s value '%s': want a size such as 256KiB", b.Word, s)
	case n == 0:
		return 0, b.D.Errf("bad %s value '%s': want more than zero", b.Word, s)
	case n > most:
		return 0, b.D.Errf("bad %s value '%s': want at most %s", b.Word, s, humanize.IBytes(most))
	default:
		return int64(n), nil
	}
}
