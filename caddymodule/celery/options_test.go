package celery

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// keys returns the JSON keys of a type, sorted.
func keys(config reflect.Type) []string {
	var all []string
	for field := range config.Fields() {
		if key, _, _ := strings.Cut(field.Tag.Get("json"), ","); key != "" {
			all = append(all, key)
		}
	}
	slices.Sort(all)
	return all
}

// Options have the same name in Caddyfiles and in JSON.
func TestOptionsAreKeys(t *testing.T) {
	t.Parallel()
	for config, options := range map[reflect.Type][]string{
		reflect.TypeFor[Servers](): serverOptions,
		reflect.TypeFor[Handler](): slices.Concat(taskOptions, responseOptions),
	} {
		if got, want := keys(config), slices.Sorted(slices.Values(options)); !slices.Equal(got, want) {
			t.Errorf("%s has the keys %q and the options %q", config, got, want)
		}
	}
}

// Each option has a file in testdata with it and one with an error about it, and a line in the
// documentation.
func TestOptionsAreTestedAndDocumented(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	works, fails := make(map[string]bool), make(map[string]bool)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		caddyfile, result, _ := strings.Cut(string(text), "----------\n")
		for line := range strings.SplitSeq(caddyfile, "\n") {
			option, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if json.Valid([]byte(result)) {
				works[option] = true
			} else if regexp.MustCompile(`\b` + regexp.QuoteMeta(option) + `\b`).MatchString(result) {
				fails[option] = true
			}
		}
	}
	page, err := os.ReadFile("../../docs/celery.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range slices.Concat(serverOptions, taskOptions, responseOptions) {
		if !works[option] || !fails[option] {
			t.Errorf("'%s': works somewhere %v, fails somewhere %v", option, works[option], fails[option])
		}
		if !regexp.MustCompile("\n\\| `" + option + "\\b").Match(page) {
			t.Errorf("'%s' has no line in a table of its page", option)
		}
	}
}

// Each reason is documented.
func TestReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/celery.md")
	if err != nil {
		t.Fatal(err)
	}
	for reason := range statuses {
		if reason != internal && !strings.Contains(string(page), "`"+string(reason)+"`") {
			t.Errorf("'%s' is not documented", reason)
		}
	}
}
