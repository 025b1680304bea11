package answer

import (
	"encoding/json"
	"strings"
)

// Exception writes what a worker reported of an exception as Python's repr does,
// such as ValueError('boom').
func Exception(value json.RawMessage) string {
	var exception struct {
		Type    string          `json:"exc_type"`
		Message json.RawMessage `json:"exc_message"`
	}
	if json.Unmarshal(value, &exception) != nil || exception.Type == "" {
		return string(value)
	}
	var args []json.RawMessage
	if len(exception.Message) > 0 && json.Unmarshal(exception.Message, &args) != nil {
		args = []json.RawMessage{exception.Message}
	}
	texts := make([]string, len(args))
	for i, arg := range args {
		texts[i] = repr(arg)
	}
	return exception.Type + "(" + strings.Join(texts, ", ") + ")"
}

// repr writes strings as Python does, and the rest as JSON.
func repr(value json.RawMessage) string {
	var text string
	if !strings.HasPrefix(string(value), `"`) || json.Unmarshal(value, &text) != nil {
		return string(value)
	}
	quote := "'"
	if strings.Contains(text, "'") && !strings.Contains(text, `"`) {
		quote = `"`
	}
	escaped := strings.NewReplacer(`\`, `\\`, quote, `\`+quote, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text)
	return quote + escaped + quote
}
