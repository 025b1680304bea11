// Package arguments builds the arguments of a task from a request, as configured. It
// depends on neither Caddy nor the handler.
//
// The configuration alone decides the type of an argument: with any input of a client, a
// string stays a string, and a number is a number or an error.
package arguments

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Replacer replaces placeholders by their values.
type Replacer interface {
	ReplaceKnown(input, empty string) string
}

// Value is one value of a configuration. It has one of three forms:
//
//	int(...)     a conversion, also float, bool, json and string
//	[1, "two"]   JSON
//	other text   a string
//
// Placeholders are allowed in a conversion, in the strings of JSON, and in a
// string.
type Value struct {
	text    string                    // argument of a conversion, or a string
	convert func(string) (any, error) // nil for JSON and strings
	literal any                       // decoded JSON
	isJSON  bool
}

// conversions by name.
var conversions = map[string]func(string) (any, error){
	"int":    toInt,
	"float":  toFloat,
	"bool":   toBool,
	"json":   toJSON,
	"string": func(s string) (any, error) { return s, nil },
}

// Parse parses a value. It returns an error for a constant that cannot be converted.
func Parse(text string) (Value, error) {
	if name, inner, ok := strings.Cut(text, "("); ok && strings.HasSuffix(inner, ")") && conversions[name] != nil {
		v := Value{text: strings.TrimSuffix(inner, ")"), convert: conversions[name]}
		if HasPlaceholder(v.text) {
			return v, nil
		}
		_, err := v.convert(v.text)
		return v, err
	}
	if literal, err := decode([]byte(text)); err == nil {
		return Value{literal: literal, isJSON: true}, nil
	}
	return Value{text: text}, nil
}

// Expand replaces the placeholders and converts the value.
func (v Value) Expand(r Replacer) (any, error) {
	switch {
	case v.isJSON:
		return expand(v.literal, r), nil
	case v.convert != nil:
		return v.convert(r.ReplaceKnown(v.text, ""))
	}
	return r.ReplaceKnown(v.text, ""), nil
}

// empty reports whether the value is an empty text after its placeholders are replaced.
func (v Value) empty(r Replacer) bool { return !v.isJSON && r.ReplaceKnown(v.text, "") == "" }

// expand returns a copy of a JSON value with expanded strings. It works on the decoded value,
// so that quotes in a placeholder's value stay inside the string. Keys are not expanded.
func expand(value any, r Replacer) any {
	switch v := value.(type) {
	case string:
		return r.ReplaceKnown(v, "")
	case []any:
		all := make([]any, len(v))
		for i, element := range v {
			all[i] = expand(element, r)
		}
		return all
	case map[string]any:
		all := make(map[string]any, len(v))
		for key, element := range v {
			all[key] = expand(element, r)
		}
		return all
	}
	return value
}

// HasPlaceholder reports whether a text contains a pair of braces.
func HasPlaceholder(text string) bool {
	_, rest, ok := strings.Cut(text, "{")
	return ok && strings.Contains(rest, "}")
}

// decode decodes JSON without loss of digits.
func decode(data []byte) (any, error) {
	if !json.Valid(data) {
		return nil, errors.New("not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	return value, nil
}

// maxInt is the longest whole number, in characters.
const maxInt = 1000

func toInt(s string) (any, error) {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || len(s) > maxInt || strings.HasPrefix(s, "+") {
		return nil, errors.New("want a whole number")
	}
	return json.Number(n.String()), nil
}

func toFloat(s string) (any, error) {
	value, err := decode([]byte(s))
	number, ok := value.(json.Number)
	if err != nil || !ok || number.String() != s {
		return nil, errors.New("want a number such as 1.5")
	}
	if _, err := number.Float64(); err != nil {
		return nil, errors.New("want a number that fits into a float")
	}
	if !strings.ContainsAny(s, ".eE") {
		s += ".0" // Python would take it for an int
	}
	return json.Number(s), nil
}

func toBool(s string) (any, error) {
	switch strings.ToLower(s) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off":
		return false, nil
	}
	return nil, errors.New("want true or false")
}

func toJSON(s string) (any, error) {
	if !json.Valid([]byte(s)) {
		return nil, errors.New("want JSON")
	}
	return json.RawMessage(s), nil
}
