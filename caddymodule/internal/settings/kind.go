package settings

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// kind is how the values of a setting are written. T is their type in the engine.
type kind[T comparable] struct {
	values string // as documentation writes them
	off    bool   // "off" is allowed
	zero   bool   // zero is a value, not off
	parse  func(name, text string) (T, error)
	encode func(T) any // for JSON
	decode func([]byte) (T, error)
	show   func(T) any // as the admin endpoint shows it
}

// plain is a kind whose values are the same in JSON and in the engine.
func plain[T comparable](values string, parse func(name, text string) (T, error)) kind[T] {
	same := func(v T) any { return v }
	return kind[T]{
		values: values, parse: parse, encode: same, show: same,
		decode: func(text []byte) (v T, err error) { return v, json.Unmarshal(text, &v) },
	}
}

// orOff returns a kind that allows "off".
func orOff[T comparable](k kind[T]) kind[T] {
	k.off = true
	return k
}

// count is a whole number from least on.
func count(least int, off bool) kind[int] {
	k := plain("<n>", func(name, text string) (int, error) {
		return optionvalue.ParseCount(name, text, optionvalue.AtLeast(least, off))
	})
	k.off, k.zero = off, least == 0
	return k
}

// share is a number above 0 and up to 1, or off.
func share() kind[float64] { return orOff(plain("<ratio>", optionvalue.ParseShare)) }

// duration is a time above zero.
func duration(off bool) kind[time.Duration] {
	k := plain("<duration>", func(name, text string) (time.Duration, error) {
		d, err := optionvalue.ParseDuration(name, text, off)
		return time.Duration(d), err
	})
	k.off, k.show = off, func(d time.Duration) any { return shortDuration(d) }
	return k
}

// order is the order of the queue.
func order() kind[offloader.Order] {
	names := []string{offloader.OrderAuto.String(), offloader.OrderFIFO.String()}
	name := func(o offloader.Order) any { return o.String() }
	return kind[offloader.Order]{
		values: strings.Join(names, "|"), zero: true, encode: name, show: name,
		parse: func(name, text string) (offloader.Order, error) {
			if _, err := optionvalue.ParseChoice(name, text, names); err != nil {
				return 0, err
			}
			return offloader.ParseOrder(text)
		},
		decode: func(value []byte) (offloader.Order, error) {
			var text string
			if err := json.Unmarshal(value, &text); err != nil {
				return 0, err
			}
			return offloader.ParseOrder(text)
		},
	}
}

// shortDuration writes a duration without parts that are zero, as in 2m for 2m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
