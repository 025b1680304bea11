// Package caddyfileblock reads blocks of a Caddyfile: one option to a line, each at
// most once. Its errors name the option, the line and the values that it takes.
package caddyfileblock

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
)

// Block is one block of a Caddyfile. Each of its methods except Next consumes the
// line of an option.
type Block struct {
	D      *caddyfile.Dispenser
	Option string              // the current option
	At     caddyfile.Dispenser // a copy that stays at Option, for its line in errors

	many []string // options that may be repeated
	seen map[string]bool
}

// New returns the block that follows in d. Options may be given once, except those in
// many.
func New(d *caddyfile.Dispenser, many ...string) *Block {
	return &Block{D: d, many: many, seen: make(map[string]bool)}
}

// Next moves to the next option of the block. It rejects an option that is repeated.
func (b *Block) Next(nesting int) (bool, error) {
	if !b.D.NextBlock(nesting) {
		return false, nil
	}
	before := b.Option
	b.Option, b.At = b.D.Val(), *b.D
	if b.Option == "{" {
		return false, b.D.Errf("unexpected '{': '%s' takes no block here", before)
	}
	if b.seen[b.Option] && !slices.Contains(b.many, b.Option) {
		return false, b.D.Errf("'%s' is set twice", b.Option)
	}
	b.seen[b.Option] = true
	return true, nil
}

// Each calls read at each option until the block ends.
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
		return "", b.At.Errf("wrong argument count: '%s' takes one value", b.Option)
	}
	return s, nil
}

// Name reads the only argument of the line, which must not be empty.
func (b *Block) Name() (string, error) {
	s, err := b.Text()
	if err == nil && s == "" {
		return "", b.At.Errf("the value of '%s' must not be empty", b.Option)
	}
	return s, err
}

// Texts reads all arguments of the line, at least one.
func (b *Block) Texts() ([]string, error) {
	all := b.D.RemainingArgs()
	if len(all) == 0 {
		return nil, b.At.Errf("wrong argument count: '%s' takes one value or more", b.Option)
	}
	return all, nil
}

// Flag reads an option without arguments.
func (b *Block) Flag() error {
	if b.D.NextArg() {
		return b.At.Errf("wrong argument count: '%s' takes no value", b.Option)
	}
	return nil
}

// Choice reads one of the allowed values.
func (b *Block) Choice(allowed ...string) (string, error) {
	return Read(b, func(s string) (string, error) { return optionvalue.ParseChoice(b.Option, s, allowed) })
}

// Choices reads one or more of the allowed values.
func (b *Block) Choices(allowed ...string) ([]string, error) {
	all, err := b.Texts()
	for _, s := range all {
		if !slices.Contains(allowed, s) {
			return nil, b.At.Errf("bad %s value '%s': want %s", b.Option, s, strings.Join(allowed, " or "))
		}
	}
	return all, err
}

// Count reads a whole number. It returns optionvalue.Off for "off" if c allows that.
func (b *Block) Count(c optionvalue.Counts) (int, error) {
	return Read(b, func(s string) (int, error) { return optionvalue.ParseCount(b.Option, s, c) })
}

// ErrorStatus reads a status code of an error response.
func (b *Block) ErrorStatus() (int, error) {
	return Read(b, func(s string) (int, error) { return optionvalue.ParseErrorStatus(b.Option, s) })
}

// Duration reads a positive duration. It returns optionvalue.Off for "off" if that is
// allowed.
func (b *Block) Duration(mayBeOff bool) (caddy.Duration, error) {
	return Read(b, func(s string) (caddy.Duration, error) { return optionvalue.ParseDuration(b.Option, s, mayBeOff) })
}

// Size reads a number of bytes above zero. It returns optionvalue.Off for "off" if that is
// allowed.
func (b *Block) Size(mayBeOff bool) (int64, error) {
	return Read(b, func(s string) (int64, error) { return optionvalue.ParseLimit(b.Option, s, mayBeOff) })
}

// Read reads the only argument of the line by parse, and adds the line to its error.
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

// ReadAll reads all arguments of the line, at least one, as one text with spaces.
func ReadAll[T any](b *Block, parse func(string) (T, error)) (T, error) {
	var none T
	all, err := b.Texts()
	if err != nil {
		return none, err
	}
	v, err := parse(strings.Join(all, " "))
	if err != nil {
		return none, b.At.WrapErr(err)
	}
	return v, nil
}
