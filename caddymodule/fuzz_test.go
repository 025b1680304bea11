package caddymodule

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
)

// line matches the place that each error of a Caddyfile must name.
var line = regexp.MustCompile(`\bCaddyfile:[1-9][0-9]*\b`)

// FuzzDirective parses the text after the directive "offload" in a site.
func FuzzDirective(f *testing.F) {
	seed(f, func(text string) (string, bool) {
		_, rest, ok := strings.Cut(text, "\n\toffload ")
		body, _, closed := strings.Cut(rest, "\n\t}\n")
		return body + "\n}", ok && closed && !strings.HasPrefix(text, "{\n\toffload")
	})
	f.Fuzz(func(t *testing.T, arguments string) {
		if oneSegment(arguments) {
			parses(t, "{\n\toffload {\n\t\tpool a\n\t}\n}\n:8080 {\n\t@m path /m\n\toffload "+arguments+"\n}\n")
		}
	})
}

// FuzzGlobalOption parses the text after the global option "offload".
func FuzzGlobalOption(f *testing.F) {
	seed(f, func(text string) (string, bool) {
		rest, ok := strings.CutPrefix(text, "{\n\toffload ")
		body, _, closed := strings.Cut(rest, "\n\t}\n")
		return body + "\n}", ok && closed
	})
	f.Fuzz(func(t *testing.T, arguments string) {
		if oneSegment(arguments) {
			parses(t, "{\n\toffload "+arguments+"\n}\n:8080 {\n\toffload a\n}\n")
		}
	})
}

// seed adds the part of each file in testdata that is of interest.
func seed(f *testing.F, part func(text string) (string, bool)) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		f.Fatalf("no files: %v", err)
	}
	added := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if arguments, ok := part(string(text)); ok {
			f.Add(arguments)
			added++
		}
	}
	if added == 0 {
		f.Fatal("no seeds")
	}
}

// oneSegment reports whether the text stays within the directive that it follows, and
// reaches this parser only: `import` reads files, and other directives return other
// errors.
func oneSegment(text string) bool {
	for _, word := range []string{"import", "handle_reject", "offload"} {
		if strings.Contains(text, word) {
			return false
		}
	}
	tokens, err := caddyfile.Tokenize([]byte("offload "+text), "Caddyfile")
	if err != nil {
		return false
	}
	depth := 0
	for i, token := range tokens {
		if depth == 0 && i > 0 && token.Line != tokens[0].Line {
			return false
		}
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

// parses adapts a Caddyfile. An error must name a line, and an accepted Caddyfile must
// load.
func parses(t *testing.T, text string) {
	if _, err := caddyfile.Tokenize([]byte(text), "Caddyfile"); err != nil {
		return // never reaches a directive
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
	config.Logging = quiet()
	if err := caddy.Validate(&config); err != nil {
		t.Errorf("adapted, but not valid: %v\n%s", err, adapted)
	}
	noPools(t)
}
