// Package adapttest adapts Caddyfiles and compares the JSON or the error with the
// one that test files expect. It is not part of any binary. Tests import the
// modules whose directives they use.
package adapttest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "rewrite what testdata/*.caddyfiletest expects")

// divider separates a Caddyfile from the expected JSON or error.
const divider = "----------\n"

// place matches the file and line that each error of a Caddyfile has to name.
var place = regexp.MustCompile(`\bCaddyfile:[1-9][0-9]*\b`)

// Run compares the JSON or the error of each file in testdata. Caddy must also be
// able to load each JSON.
func Run(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			input, want := readCase(t, file)
			got := outcomeOf(t, input)
			if *update {
				writeCase(t, file, input, got)
				want = got
			}
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if strings.HasPrefix(name, "error_") == json.Valid([]byte(got)) {
				t.Error("files of errors, and only these, begin with 'error_'")
			}
		})
	}
}

func readCase(t *testing.T, file string) (input, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, want, ok := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), divider)
	if !ok {
		t.Fatal("no line of ten dashes")
	}
	return input, want
}

func writeCase(t *testing.T, file, input, want string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(input+divider+want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// outcomeOf adapts a Caddyfile, as `caddy adapt` does, and returns the JSON or the
// error.
func outcomeOf(t *testing.T, input string) string {
	t.Helper()
	if formatted := string(caddyfile.Format([]byte(input))); formatted != input {
		t.Errorf("not as 'caddy fmt' writes it:\n%s", formatted)
	}
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		if !place.MatchString(err.Error()) {
			t.Errorf("error names no line: %v", err)
		}
		return err.Error() + "\n"
	}
	for _, w := range warnings {
		t.Errorf("warning: %s", w)
	}
	validate(t, config)
	var indented bytes.Buffer
	if err := json.Indent(&indented, config, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return indented.String() + "\n"
}

// validate does the same as `caddy validate`.
func validate(t *testing.T, config []byte) {
	t.Helper()
	var c caddy.Config
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	c.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}
	if err := caddy.Validate(&c); err != nil {
		t.Errorf("adapted, but not valid: %v", err)
	}
}
