package celery_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	celeryhandler "github.com/caddy-offload/caddy-offload/caddymodule/celery"
)

// line matches the file and line that each error of a Caddyfile must name.
var line = regexp.MustCompile(`\bCaddyfile:[1-9][0-9]*\b`)

// FuzzDirective parses blocks of the directive. An error must name a line, and an accepted block
// must load.
func FuzzDirective(f *testing.F) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		f.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if _, rest, ok := strings.Cut(string(text), "\tcelery {\n"); ok {
			body, _, _ := strings.Cut(rest, "\n\t}\n")
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body string) {
		text := ":8080 {\n\tcelery {\n" + body + "\n\t}\n}\n"
		if !oneBlock(body) {
			return
		}
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
		if err != nil {
			if !line.MatchString(err.Error()) {
				t.Errorf("error names no line: %v", err)
			}
			return
		}
		var config caddy.Config
		if err := json.Unmarshal(adapted, &config); err != nil {
			t.Fatal(err)
		}
		config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
		}}
		// Files and variables of the environment may be missing.
		if err := caddy.Validate(&config); err != nil && !strings.Contains(body, "tls") && !strings.Contains(body, "ssl_") && !strings.Contains(body, "{") {
			t.Errorf("adapted, but not valid: %v\n%s", err, adapted)
		}
		if n := celeryhandler.Links(); n != 0 {
			t.Errorf("%d links are held", n)
		}
	})
}

// oneBlock reports whether the text does not close the block around it.
func oneBlock(body string) bool {
	if strings.Contains(body, "import") { // which reads files
		return false
	}
	tokens, err := caddyfile.Tokenize([]byte(body), "Caddyfile")
	if err != nil {
		return false
	}
	depth := 0
	for _, token := range tokens {
		switch token.Text {
		case "{":
			depth++
		case "}":
			depth--
		}
		if depth < 0 || strings.Contains(token.Text, "\n") {
			return false
		}
	}
	return depth == 0
}

// Names match patterns in which '*' matches any text, like the equivalent regular expression.
func FuzzPatterns(f *testing.F) {
	for _, pattern := range []string{"", "*", "a*", "*a", "a*b", "a*b*c", "**", "lab.*", "*.add"} {
		f.Add(pattern, "lab.add")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		want, err := regexp.Compile("(?s)^" + strings.Join(parts, ".*") + "$")
		if err != nil {
			return // no text
		}
		if got := celeryhandler.Match(pattern, name); got != want.MatchString(name) {
			t.Errorf("%q and %q: got %t", pattern, name, got)
		}
	})
}
