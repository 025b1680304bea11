// Package jsonfile reads and writes results that are kept as JSON beside the documents.
package jsonfile

import (
	"encoding/json"
	"os"
)

// Read reads a value from a file.
func Read[T any](path string) (v T, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	return v, err
}

// Write writes a value to a file, indented for human readers.
func Write(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
