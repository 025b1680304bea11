package celery

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/adapttest"
)

// Options have the same name in Caddyfiles and in JSON.
func TestOptionsAreKeys(t *testing.T) {
	t.Parallel()
	for config, options := range map[reflect.Type][]string{
		reflect.TypeFor[Servers](): serverOptions,
		reflect.TypeFor[Handler](): slices.Concat(taskOptions, responseOptions),
	} {
		if got, want := adapttest.Keys(config), slices.Sorted(slices.Values(options)); !slices.Equal(got, want) {
			t.Errorf("%s has the keys %q and the options %q", config, got, want)
		}
	}
}

// Each option has a file in testdata with it and one with an error about it, and a line in the
// documentation.
func TestOptionsAreTestedAndDocumented(t *testing.T) {
	t.Parallel()
	options := slices.Concat(serverOptions, taskOptions, responseOptions)
	adapttest.Options(t, options)
	page, err := os.ReadFile("../../docs/celery.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range options {
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
