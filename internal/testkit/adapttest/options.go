package adapttest

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Keys returns the keys of a type in JSON, sorted.
func Keys(config reflect.Type) []string {
	var all []string
	for field := range config.Fields() {
		if key, _, _ := strings.Cut(field.Tag.Get("json"), ","); key != "" {
			all = append(all, key)
		}
	}
	slices.Sort(all)
	return all
}

// Options fails for each option that has no file in testdata in which it works, or none
// with an error about it.
func Options(t *testing.T, options []string) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	works, fails := make(map[string]bool), make(map[string]bool)
	for _, file := range files {
		input, result := readCase(t, file)
		for line := range strings.SplitSeq(input, "\n") {
			option, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if json.Valid([]byte(result)) {
				works[option] = true
			} else if regexp.MustCompile(`\b` + regexp.QuoteMeta(option) + `\b`).MatchString(result) {
				fails[option] = true
			}
		}
	}
	for _, option := range options {
		if !works[option] || !fails[option] {
			t.Errorf("'%s': works somewhere %v, fails somewhere %v", option, works[option], fails[option])
		}
	}
}
