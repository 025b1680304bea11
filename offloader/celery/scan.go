package celery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

var errNotObject = errors.New("not a JSON object")

// scanObject calls visit with each key of a JSON object and its encoded value, until visit
// returns false. It does not validate values, since Python writes some that are not JSON.
func scanObject(data []byte, visit func(key string, value []byte) bool) error {
	i := skipSpace(data, 0)
	if i == len(data) || data[i] != '{' {
		return errNotObject
	}
	if i = skipSpace(data, i+1); i < len(data) && data[i] == '}' {
		return nil
	}
	for i < len(data) {
		key, value, next, err := scanMember(data, i)
		if err != nil {
			return err
		}
		if !visit(key, value) {
			return nil
		}
		if next == len(data) {
			break
		}
		if data[next] == '}' {
			return nil
		}
		i = skipSpace(data, next+1)
	}
	return io.ErrUnexpectedEOF
}

// scanMember scans a key and a value from index i. next is the index of the comma or brace
// after them, or the end of data.
func scanMember(data []byte, i int) (key string, value []byte, next int, err error) {
	if data[i] != '"' {
		return "", nil, 0, errNotObject
	}
	end := stringEnd(data, i)
	if err := json.Unmarshal(data[i:end], &key); err != nil {
		return "", nil, 0, fmt.Errorf("reading a key: %w", err)
	}
	i = skipSpace(data, end)
	if i == len(data) || data[i] != ':' {
		return "", nil, 0, errNotObject
	}
	i = skipSpace(data, i+1)
	end = valueEnd(data, i)
	next = skipSpace(data, end)
	if end == i || next < len(data) && data[next] != ',' && data[next] != '}' {
		return "", nil, 0, errNotObject
	}
	return key, data[i:end], next, nil
}

// scanArray returns the encoded elements of a JSON array. Like scanObject, it does not validate
// them.
func scanArray(data []byte) (elements []json.RawMessage, ok bool) {
	i := skipSpace(data, 0)
	if i == len(data) || data[i] != '[' {
		return nil, false
	}
	for i = skipSpace(data, i+1); i < len(data) && data[i] != ']'; i = skipSpace(data, i) {
		end := valueEnd(data, i)
		next := skipSpace(data, end)
		if end == i || next == len(data) || data[next] != ',' && data[next] != ']' {
			return nil, false
		}
		elements = append(elements, data[i:end])
		if i = next; data[next] == ',' {
			i++
		}
	}
	return elements, i < len(data)
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// stringEnd returns the index after the closing quote of the string that begins
// at i, or the end of data.
func stringEnd(data []byte, i int) int {
	for i++; i < len(data); i++ {
		next := bytes.IndexAny(data[i:], `"\`)
		if next < 0 {
			return len(data)
		}
		i += next
		if data[i] == '"' {
			return i + 1
		}
		i++ // skip the escaped character
	}
	return len(data)
}

// valueEnd returns the index after the value that begins at i.
func valueEnd(data []byte, i int) int {
	if i == len(data) {
		return i
	}
	switch data[i] {
	case '"':
		return stringEnd(data, i)
	case '[', '{':
		return bracketEnd(data, i)
	}
	for i < len(data) && strings.IndexByte(",]} \n\t\r", data[i]) < 0 {
		i++
	}
	return i
}

func bracketEnd(data []byte, i int) int {
	for depth := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i = stringEnd(data, i) - 1
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(data)
}

// hasLoneSurrogate reports whether a JSON string contains an escaped half of a surrogate pair,
// which is no character.
func hasLoneSurrogate(quoted []byte) bool {
	for i := 0; ; i += 2 {
		next := bytes.IndexByte(quoted[i:], '\\')
		if next < 0 {
			return false
		}
		i += next
		switch unit := surrogateAt(quoted, i); {
		case unit == 0:
		case unit < 0xdc00 && surrogateAt(quoted, i+6) >= 0xdc00:
			i += 10
		default:
			return true
		}
	}
}

// surrogateAt returns the escaped surrogate at index i, or 0.
func surrogateAt(quoted []byte, i int) uint64 {
	if i+6 > len(quoted) || quoted[i] != '\\' || quoted[i+1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(quoted[i+2:i+6]), 16, 32)
	if err != nil || unit < 0xd800 || unit > 0xdfff {
		return 0
	}
	return unit
}

// decodeExact decodes JSON without loss of digits.
func decodeExact(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	return value, nil
}

// marshal is json.Marshal without the escapes for HTML.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// walk calls visit with each object in a decoded value.
func walk(value any, visit func(map[string]any) error) error {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			if err := walk(element, visit); err != nil {
				return err
			}
		}
	case map[string]any:
		if err := visit(v); err != nil {
			return err
		}
		for _, element := range v {
			if err := walk(element, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkFinite(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return errors.New("not a finite number")
	}
	return nil
}
