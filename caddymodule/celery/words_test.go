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

// keys are those of the JSON that words become.
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

// JSON keys equal the words.
func TestWordsAreKeys(t *testing.T) {
	t.Parallel()
	for config, words := range map[reflect.Type][]string{
		reflect.TypeFor[Servers](): serverWords,
		reflect.TypeFor[Handler](): slices.Concat(taskWords, answerWords),
	} {
		if got, want := keys(config), slices.Sorted(slices.Values(words)); !slices.Equal(got, want) {
			t.Errorf("%s has the keys %q and the words %q", config, got, want)
		}
	}
}

// Each word has a file in testdata where it works and one where it does not, and a
// line in the documentation.
func TestWordsAreTestedAndDocumented(t *testing.T) {
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
			word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if json.Valid([]byte(result)) {
				works[word] = true
			} else if regexp.MustCompile(`\b` + regexp.QuoteMeta(word) + `\b`).MatchString(result) {
				fails[word] = true
			}
		}
	}
	page, err := os.ReadFile("../../docs/celery.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range slices.Concat(serverWords, taskWords, answerWords) {
		if !works[word] || !fails[word] {
			t.Errorf("'%s': works somewhere %v, fails somewhere %v", word, works[word], fails[word])
		}
		if !regexp.MustCompile("\n\\| `" + word + "\\b").Match(page) {
			t.Errorf("'%s' has no line in a table of its page", word)
		}
	}
}

// So has each reason.
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
