package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/caddyserver/xcaddy"
)

// readBuilder reads a builder from a JSON file and makes the folders of its
// replacements absolute.
func readBuilder(path string) (xcaddy.Builder, error) {
	file, err := os.Open(path)
	if err != nil {
		return xcaddy.Builder{}, fmt.Errorf("read the build file: %w", err)
	}
	defer file.Close()
	builder, err := decodeBuilder(file)
	if err != nil {
		return xcaddy.Builder{}, fmt.Errorf("read %s: %w", path, err)
	}
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return xcaddy.Builder{}, fmt.Errorf("folder of %s: %w", path, err)
	}
	if err := resolveReplacements(builder.Replacements, base); err != nil {
		return xcaddy.Builder{}, fmt.Errorf("read %s: %w", path, err)
	}
	return builder, nil
}

// decodeBuilder decodes exactly one JSON object. An unknown key is an error:
// with a misspelled one the build would silently differ.
func decodeBuilder(r io.Reader) (xcaddy.Builder, error) {
	var builder xcaddy.Builder
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&builder); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Type == reflect.TypeFor[time.Duration]() {
			return builder, fmt.Errorf("%w (write a duration as a whole number of nanoseconds)", err)
		}
		return builder, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return builder, errors.New("more data after the JSON object")
	}
	return builder, nil
}

// resolveReplacements makes relative folders absolute, because xcaddy builds in
// a temporary folder. They are relative to base, not to the working directory.
func resolveReplacements(replacements []xcaddy.Replace, base string) error {
	for i, r := range replacements {
		if r.Old == "" || r.New == "" {
			return fmt.Errorf("replacement %d: both old and new must be given", i+1)
		}
		dir := string(r.New)
		if !isFolder(dir) {
			continue
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(base, filepath.FromSlash(dir))
		}
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			return fmt.Errorf("replacement of %s is no Go module: %w", r.Old, err)
		}
		replacements[i].New = xcaddy.ReplacementPath(dir)
	}
	return nil
}

// isFolder reports whether a replacement is a folder and not a module path, by
// the rule of go.mod files: it begins with ./ or ../ or is absolute.
func isFolder(path string) bool {
	first, _, _ := strings.Cut(filepath.ToSlash(path), "/")
	return first == "." || first == ".." || filepath.IsAbs(path)
}
