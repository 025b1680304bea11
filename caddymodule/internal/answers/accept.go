package answers

import (
	"iter"
	"strconv"
	"strings"
)

// mediaRange is an element of the field Accept: a media type or a range of them.
type mediaRange struct {
	name   string // in the case in which it came
	weight float64
}

// is reports whether the range is that media type.
func (m mediaRange) is(name string) bool { return strings.EqualFold(m.name, name) }

// isJSON reports whether the range is a media type of JSON, such as
// application/problem+json.
func (m mediaRange) isJSON() bool {
	const suffix = "+json"
	return m.is("application/json") ||
		len(m.name) > len(suffix) && strings.EqualFold(m.name[len(m.name)-len(suffix):], suffix)
}

// acceptable returns the elements of Accept fields (RFC 9110, section 12.5.1) that the
// client accepts. Elements with an invalid weight are left out.
func acceptable(fields []string) iter.Seq[mediaRange] {
	return func(yield func(mediaRange) bool) {
		for _, field := range fields {
			for field != "" {
				var element string
				element, field = cut(field, ',')
				if m, ok := parseRange(element); ok && !yield(m) {
					return
				}
			}
		}
	}
}

func parseRange(element string) (m mediaRange, ok bool) {
	name, parameters := cut(element, ';')
	m = mediaRange{name: strings.Trim(name, whitespace), weight: 1}
	for parameters != "" {
		var parameter string
		parameter, parameters = cut(parameters, ';')
		key, value, _ := strings.Cut(parameter, "=")
		if !strings.EqualFold(strings.Trim(key, whitespace), "q") {
			continue
		}
		weight, err := strconv.ParseFloat(strings.Trim(value, whitespace), 64)
		if err != nil {
			return m, false
		}
		m.weight = weight
	}
	return m, strings.Contains(m.name, "/") && m.weight > 0 && m.weight <= 1 // NaN is neither
}

const whitespace = " \t"

// cut splits text at the first separator outside of quoted strings.
func cut(text string, separator byte) (before, after string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}
