package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// overrideWords are the words of a pool that can be overridden at run time.
var overrideWords = []string{"concurrency", "queue", "max_wait", "order", "linger"}

// parseOverride reads a JSON object of these words with their values in a
// Caddyfile. A word that is null is not overridden any more. All words are checked
// before the function that it returns changes any.
func parseOverride(body []byte) (func(*offloader.Override), error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("want a JSON object of settings: %w", err)
	}
	if len(fields) == 0 {
		return nil, errors.New("no setting to change: want one or more of " + strings.Join(overrideWords, ", "))
	}
	var wanted offloader.Override
	var reset []string
	var errs []error
	for word, value := range fields {
		if bytes.Equal(value, []byte("null")) && slices.Contains(overrideWords, word) {
			reset = append(reset, word)
			continue
		}
		errs = append(errs, overrideField(&wanted, word, value))
	}
	return func(o *offloader.Override) {
		*o = o.With(wanted)
		for _, word := range reset {
			clearWord(o, word)
		}
	}, errors.Join(errs...)
}

// overrideField reads a value that is text or a number.
func overrideField(o *offloader.Override, word string, value json.RawMessage) error {
	var text string
	var number json.Number
	switch {
	case json.Unmarshal(value, &text) == nil:
	case json.Unmarshal(value, &number) == nil:
		text = number.String()
	default:
		text = string(value)
	}
	return overrideWord(o, word, text)
}

// overrideWord overrides one setting.
func overrideWord(o *offloader.Override, word, value string) (err error) {
	switch word {
	case "concurrency":
		o.Concurrency, err = parsed(optionvalue.ParseCount(word, value, optionvalue.AtLeast(1, true)))
	case "queue":
		o.Queue, err = parsed(optionvalue.ParseCount(word, value, optionvalue.AtLeast(0, false)))
	case "max_wait":
		o.MaxWait, err = parsedDuration(word, value)
	case "linger":
		o.Linger, err = parsedDuration(word, value)
	case "order":
		if value, err = optionvalue.ParseChoice(word, value, []string{"auto", "fifo"}); err == nil {
			o.Order, err = parsed(offloader.ParseOrder(value))
		}
	default:
		err = fmt.Errorf("unknown setting '%s': want one of %s", word, strings.Join(overrideWords, ", "))
	}
	return err
}

// parsed makes a pointer of a value, in which off is zero.
func parsed[T comparable](v T, err error) (*T, error) {
	v = optionvalue.OrDefault(v, v)
	return &v, err
}

func parsedDuration(word, value string) (*time.Duration, error) {
	d, err := parsed(optionvalue.ParseDuration(word, value, true))
	return (*time.Duration)(d), err
}

// clearWord makes a setting count as it is configured.
func clearWord(o *offloader.Override, word string) {
	switch word {
	case "concurrency":
		o.Concurrency = nil
	case "queue":
		o.Queue = nil
	case "max_wait":
		o.MaxWait = nil
	case "order":
		o.Order = nil
	case "linger":
		o.Linger = nil
	}
}
