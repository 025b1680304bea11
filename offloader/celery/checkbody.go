package celery

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"
)

// Limits of Python's JSON decoder, which is recursive and rejects longer integers.
const (
	maxDepth  = 100
	maxDigits = 4300
)

// checkBody rejects valid JSON that a worker cannot decode. The worker would drop such a
// message without a report.
func checkBody(body []byte) error {
	if len(body) > maxBody {
		return fmt.Errorf("the arguments have %d bytes, at most %d", len(body), maxBody)
	}
	if !utf8.Valid(body) {
		return errors.New("the arguments are not UTF-8")
	}
	if err := checkShape(body); err != nil {
		return err
	}
	return checkWrappers(body)
}

// checkShape checks the nesting, the length of numbers and surrogates in strings.
func checkShape(body []byte) error {
	depth, digits := 0, 0
	for i := 0; i < len(body); i++ {
		b := body[i]
		if '0' <= b && b <= '9' {
			if digits++; digits > maxDigits {
				return fmt.Errorf("a number has more than %d digits", maxDigits)
			}
			continue
		}
		digits = 0
		switch b {
		case '"':
			end := stringEnd(body, i)
			if hasLoneSurrogate(body[i:end]) {
				return errors.New("the arguments contain half a surrogate pair")
			}
			i = end - 1
		case '[', '{':
			if depth++; depth > maxDepth {
				return fmt.Errorf("the arguments are nested more than %d deep", maxDepth)
			}
		case ']', '}':
			depth--
		}
	}
	return nil
}

// checkWrappers checks objects that the worker decodes to other values, such as dates. It
// rejects those that the worker cannot decode.
func checkWrappers(body []byte) error {
	// The key may contain escapes.
	if !bytes.Contains(body, []byte("__type__")) && !bytes.Contains(body, []byte(`\u`)) {
		return nil
	}
	value, err := decodeExact(body)
	if err != nil {
		return err
	}
	return walk(value, func(object map[string]any) error {
		kind, value, ok := wrapped(object)
		if ok && !wellWrapped(kind, value) {
			return fmt.Errorf("an object with the keys __type__ and __value__ has an unknown type or an invalid value: %v", kind)
		}
		return nil
	})
}

// checkKwargs rejects kwargs that the worker would decode to a single value. The worker
// would drop such a task, as kwargs must be a mapping.
func checkKwargs(kwargs map[string]any) error {
	if _, _, ok := wrapped(kwargs); ok {
		return errors.New("kwargs that are only __type__ and __value__ would be decoded as one value")
	}
	return nil
}

// wrapped reports whether the object stands for a value of another type.
func wrapped(object map[string]any) (kind, value any, ok bool) {
	kind, hasType := object["__type__"]
	value, hasValue := object["__value__"]
	return kind, value, hasType && hasValue && len(object) == 2
}

var (
	datetimePattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T` + clock + `$`)
	timePattern     = regexp.MustCompile(`^` + clock + `$`)
	decimalPattern  = regexp.MustCompile(`^-?\d{1,1000}(\.\d{1,1000})?$`)
	hexPattern      = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)
)

const clock = `\d{2}:\d{2}:\d{2}(\.\d{6})?([+-]([01]\d|2[0-3]):[0-5]\d)?`

// wellWrapped reports whether every version of Python can decode the value.
func wellWrapped(kind, value any) bool {
	if kind == "uuid" {
		fields, _ := value.(map[string]any)
		text, _ := fields["hex"].(string)
		return len(fields) == 1 && hexPattern.MatchString(text)
	}
	text, ok := value.(string)
	if !ok {
		return false
	}
	switch kind {
	case "bytes":
		return true
	case "base64":
		_, err := base64.StdEncoding.Strict().DecodeString(text)
		return err == nil
	case "decimal":
		return decimalPattern.MatchString(text)
	case "datetime":
		return datetimePattern.MatchString(text) && isTime(time.DateOnly+"T"+time.TimeOnly, text)
	case "date":
		return isTime(time.DateOnly, text)
	case "time":
		return timePattern.MatchString(text) && isTime(time.TimeOnly, text)
	}
	return false
}

// isTime reports whether text begins with a valid time. Python has no year 0.
func isTime(layout, text string) bool {
	_, err := time.Parse(layout, text[:min(len(layout), len(text))])
	return err == nil && (layout != time.DateOnly || len(text) == len(layout)) && text[:4] != "0000"
}
