package arguments

import (
	"encoding/json"
	"errors"
)

// ExpandHeader is like Expand for a header of a message. Headers have fewer types than
// arguments: numbers are int64 or float64.
func (v Value) ExpandHeader(r Replacer) (any, error) {
	value, err := v.Expand(r)
	if err != nil {
		return nil, err
	}
	if raw, ok := value.(json.RawMessage); ok {
		if value, err = decode(raw); err != nil {
			return nil, err
		}
	}
	return toHeader(value)
}

func toHeader(value any) (any, error) {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, errors.New("the number is too large for a header of a task")
		}
		return f, nil
	case []any:
		all := make([]any, len(v))
		for i, element := range v {
			var err error
			if all[i], err = toHeader(element); err != nil {
				return nil, err
			}
		}
		return all, nil
	case map[string]any:
		all := make(map[string]any, len(v))
		for name, element := range v {
			var err error
			if all[name], err = toHeader(element); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	return value, nil
}
