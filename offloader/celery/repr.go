package celery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxRepr limits the values that monitors and logs show, in bytes.
const maxRepr = 1024

// tupleRepr returns a JSON array in Python's notation of a tuple.
func tupleRepr(array []byte, limit int) string {
	array = bytes.TrimSpace(array)
	inner, elements := pythonRepr(array[1:len(array)-1], limit)
	if elements == 1 {
		inner += ","
	}
	return "(" + inner + ")"
}

// valueRepr returns a JSON value in Python's notation.
func valueRepr(value []byte, limit int) string {
	text, _ := pythonRepr(value, limit)
	return text
}

// pythonRepr returns JSON in Python's notation, cut at a limit in bytes, and the number of its
// elements. It accepts NaN and Infinity.
func pythonRepr(data []byte, limit int) (text string, elements int) {
	var b strings.Builder
	depth := 0
	for i := skipSpace(data, 0); i < len(data); i = skipSpace(data, i) {
		if b.Len() > limit {
			b.WriteString("...")
			return b.String(), 0
		}
		if depth == 0 && (elements == 0 || data[i] == ',') {
			elements++
		}
		switch data[i] {
		case '"':
			end := stringEnd(data, i)
			writeString(&b, data[i:end], limit)
			i = end
			continue
		case '[', '{':
			if end := writeWrapped(&b, data, i); end > i {
				i = end
				continue
			}
			depth++
		case ']', '}':
			depth--
		}
		i += writeToken(&b, data[i:])
	}
	return b.String(), elements
}

// pythonTokens are the tokens that differ between JSON and Python.
var pythonTokens = []struct{ json, python string }{
	{",", ", "}, {":", ": "}, {"true", "True"}, {"false", "False"}, {"null", "None"}, {"NaN", "nan"}, {"Infinity", "inf"},
}

// writeToken writes the first token of data and returns its length.
func writeToken(b *strings.Builder, data []byte) int {
	for _, token := range pythonTokens {
		if bytes.HasPrefix(data, []byte(token.json)) {
			b.WriteString(token.python)
			return len(token.json)
		}
	}
	b.WriteByte(data[0])
	return 1
}

// writeWrapped writes the value that the object at index i stands for, and returns the end of
// the object. It returns i for any other object.
func writeWrapped(b *strings.Builder, data []byte, i int) int {
	if !bytes.HasPrefix(data[i:], []byte(wrapperStart)) {
		return i
	}
	end := bracketEnd(data, i)
	kind, text, ok := unwrap(data[i:end])
	if !ok {
		return i
	}
	switch kind {
	case "bytes", "base64":
		writeBytes(b, text)
	case "decimal":
		b.WriteString("Decimal('" + text + "')")
	case "uuid":
		b.WriteString("UUID('" + text + "')")
	default: // a date or a time
		b.WriteString("'" + text + "'")
	}
	return end
}

// wrapperStart is the start of a wrapped value, as workers write it.
const wrapperStart = `{"__type__"`

// unwrap returns the kind and the text of a wrapped value: a time, a UUID or another value
// that JSON has no type for.
func unwrap(object []byte) (kind, text string, ok bool) {
	if !bytes.HasPrefix(object, []byte(wrapperStart)) {
		return "", "", false
	}
	value, err := decodeExact(object)
	if err != nil {
		return "", "", false
	}
	fields, _ := value.(map[string]any)
	of, inner, ok := wrapped(fields)
	if !ok || !wellWrapped(of, inner) {
		return "", "", false
	}
	kind, _ = of.(string)
	if data, isBytes := (Result{Value: object}).Bytes(); isBytes {
		return kind, string(data), true
	}
	text, _ = unwrapped(inner).(string)
	return kind, text, true
}

// quoteFor returns the quote that Python chooses for a text.
func quoteFor(text string) rune {
	if strings.Contains(text, "'") && !strings.Contains(text, `"`) {
		return '"'
	}
	return '\''
}

func writeBytes(b *strings.Builder, text string) {
	quote := quoteFor(text)
	b.WriteString("b" + string(quote))
	for _, c := range []byte(text) {
		if c >= utf8.RuneSelf {
			fmt.Fprintf(b, `\x%02x`, c)
			continue
		}
		writeRune(b, rune(c), quote)
	}
	b.WriteRune(quote)
}

func writeString(b *strings.Builder, quoted []byte, limit int) {
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return // not a valid string
	}
	if len(s) > limit {
		s = s[:limit]
	}
	quote := quoteFor(s)
	b.WriteRune(quote)
	for _, r := range s {
		writeRune(b, r, quote)
	}
	b.WriteRune(quote)
}

func writeRune(b *strings.Builder, r, quote rune) {
	switch {
	case r == quote || r == '\\':
		b.WriteByte('\\')
		b.WriteRune(r)
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\r':
		b.WriteString(`\r`)
	case r == '\t':
		b.WriteString(`\t`)
	case r == utf8.RuneError:
		b.WriteByte('?')
	case unicode.IsPrint(r):
		b.WriteRune(r)
	case r <= 0xff:
		fmt.Fprintf(b, `\x%02x`, r)
	case r <= 0xffff:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}
