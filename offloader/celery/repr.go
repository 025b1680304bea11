package celery

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxRepr is how much of a value monitors and logs are shown.
const maxRepr = 1024

// tupleRepr writes a compact JSON array as Python shows a tuple.
func tupleRepr(array []byte) string {
	inner, elements := pythonRepr(array[1 : len(array)-1])
	if elements == 1 {
		inner += ","
	}
	return "(" + inner + ")"
}

// objectRepr writes a compact JSON object as Python shows a dict.
func objectRepr(object []byte) string {
	text, _ := pythonRepr(object)
	return text
}

// pythonRepr writes compact JSON as Python would show it, cut at maxRepr, and
// counts its elements.
func pythonRepr(data []byte) (text string, elements int) {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(data); {
		if b.Len() > maxRepr {
			b.WriteString("...")
			return b.String(), 0
		}
		if depth == 0 && i == 0 {
			elements++
		}
		switch c := data[i]; c {
		case '"':
			end := stringEnd(data, i)
			writeString(&b, data[i:end])
			i = end
			continue
		case ',':
			if depth == 0 {
				elements++
			}
			b.WriteString(", ")
		case ':':
			b.WriteString(": ")
		case 't':
			b.WriteString("True")
			i += len("rue")
		case 'f':
			b.WriteString("False")
			i += len("alse")
		case 'n':
			b.WriteString("None")
			i += len("ull")
		default:
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
			b.WriteByte(c)
		}
		i++
	}
	return b.String(), elements
}

func writeString(b *strings.Builder, quoted []byte) {
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return // cannot happen: it was marshalled
	}
	if len(s) > maxRepr {
		s = s[:maxRepr]
	}
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
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
