package settings

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// kind describes the values of a setting and their forms. T is their type in the engine.
type kind[T any] struct {
	values string // as documentation writes them
	off    bool   // "off" is allowed
	zero   bool   // zero is a value, not off
	many   bool   // a value may consist of several words
	parse  func(name, text string) (T, error)
	encode func(T) any // for JSON
	decode func([]byte) (T, error)
	engine func(T) T      // a value of JSON as the engine takes it
	text   func(T) string // as the log shows it
	show   func(T) any    // as the admin endpoint shows it
}

// plain is a kind whose values are the same in JSON and in the engine.
func plain[T comparable](values string, parse func(name, text string) (T, error)) kind[T] {
	same := func(v T) any { return v }
	return kind[T]{
		values: values, parse: parse, encode: same, show: same, text: func(v T) string { return fmt.Sprint(v) },
		decode: func(text []byte) (v T, err error) { return v, json.Unmarshal(text, &v) },
		engine: func(v T) T { return v },
	}
}

// orOff returns a kind that also allows "off", for which the engine uses zero.
func orOff[T comparable](k kind[T]) kind[T] {
	k.off = true
	k.engine = func(v T) T { return optionvalue.OrDefault(v, v) }
	return k
}

// count is the kind of settings that are a whole number, least or more.
func count(least int, off bool) kind[int] {
	k := plain("<n>", func(name, text string) (int, error) {
		return optionvalue.ParseCount(name, text, optionvalue.AtLeast(least, off))
	})
	k.zero = least == 0
	if off {
		return orOff(k)
	}
	return k
}

// share is the kind of settings that are a number above 0 and up to 1, or off.
func share() kind[float64] { return orOff(plain("<ratio>", optionvalue.ParseShare)) }

// duration is a time above zero.
func duration(off bool) kind[time.Duration] {
	k := plain("<duration>", func(name, text string) (time.Duration, error) {
		d, err := optionvalue.ParseDuration(name, text, off)
		return time.Duration(d), err
	})
	k.show = func(d time.Duration) any { return shortDuration(d) }
	if off {
		return orOff(k)
	}
	return k
}

// order is the order of the queue.
func order() kind[offloader.Order] {
	names := []string{offloader.OrderAuto.String(), offloader.OrderFIFO.String()}
	name := func(o offloader.Order) any { return o.String() }
	k := plain(strings.Join(names, "|"), func(name, text string) (offloader.Order, error) {
		if _, err := optionvalue.ParseChoice(name, text, names); err != nil {
			return 0, err
		}
		return offloader.ParseOrder(text)
	})
	k.zero, k.encode, k.show = true, name, name
	k.decode = func(value []byte) (offloader.Order, error) {
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return 0, err
		}
		return offloader.ParseOrder(text)
	}
	return k
}

// shortDuration writes a duration without trailing zero parts, as in 2m for 2m0s.
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
