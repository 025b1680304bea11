// Package words reads the words of Caddyfile blocks: one word to a line, each at
// most once, with errors that name the word, the line and what it takes.
package words

import (
	"fmt"
	"math"
	"slices"
	"strings"

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
	return Read(b, func(s string) (string, error) { return ParseChoice(b.Word, s, allowed) })
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

// Count reads a whole number, or "off" where that may be.
func (b *Block) Count(c Counts) (int, error) {
	return Read(b, func(s string) (int, error) { return ParseCount(b.Word, s, c) })
}

// ErrorStatus reads a status code that says that something is wrong.
func (b *Block) ErrorStatus() (int, error) {
	return Read(b, func(s string) (int, error) { return ParseErrorStatus(b.Word, s) })
}

// Duration reads a positive duration, or "off" where that may be.
func (b *Block) Duration(mayBeOff bool) (caddy.Duration, error) {
	return Read(b, func(s string) (caddy.Duration, error) { return ParseDuration(b.Word, s, mayBeOff) })
}

// Size reads a number of bytes above zero, or "off" where that may be.
func (b *Block) Size(mayBeOff bool) (int64, error) {
	return Read(b, func(s string) (int64, error) {
		if s == "off" && mayBeOff {
			return Off, nil
		}
		n, err := ParseSize(b.Word, s)
		if err == nil && n == 0 {
			return 0, fmt.Errorf("bad %s value '%s': want more than zero%s", b.Word, s, orOff(mayBeOff))
		}
		return n, err
	})
}

// Read reads the only argument of the line, and adds the line to an error.
func Read[T any](b *Block, parse func(string) (T, error)) (T, error) {
	var none T
	s, err := b.Text()
	if err != nil {
		return none, err
	}
	v, err := parse(s)
	if err != nil {
		return none, b.D.WrapErr(err)
	}
	return v, nil
}
