package sidecar

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// reread has Caddy's parser read a value between others, and returns all three.
func reread(t *testing.T, token string) []string {
	t.Helper()
	blocks, err := caddyfile.Parse("test", []byte("site {\n\tdir before "+token+" after\n\tlast\n}\n"))
	if err != nil {
		t.Fatalf("%v: %s", err, token)
	}
	if len(blocks) != 1 || len(blocks[0].Segments) != 2 {
		t.Fatalf("got %d blocks out of %s", len(blocks), token)
	}
	d := blocks[0].DispenseDirective("dir")
	d.Next()
	return d.RemainingArgs()
}

func checkQuoted(t *testing.T, value string) {
	t.Helper()
	token, err := quote(value)
	if err != nil {
		if utf8.ValidString(value) && !strings.ContainsRune(value, '\r') {
			t.Errorf("%q is refused: %v", value, err)
		}
		return
	}
	if got, want := reread(t, token), []string{"before", value, "after"}; !slices.Equal(got, want) {
		t.Errorf("%q is written as %s and read as %q", value, token, got)
	}
}

// A flag's value is taken as written, whatever a Caddyfile has special letters for.
func TestSidecarTakesFlagsAsWritten(t *testing.T) {
	t.Setenv("OFFLOAD_TEST", "replaced")
	for _, value := range []string{
		"plain", "", " ", "a b", "\t", "a\nb", "a\r\nb", "#comment", "a#b", "ä", "\ufeff", "\u00a0",
		`sp\x y`, `sp\x`, `C:\Users\x\`, `\\server\share\a b`, `\`, `\\`, `a\ b`, `\"`, `"`, `a"b`, `"a"`, `\\"`,
		"`", "a`b", "`a`", "a`\\", "a`\\\"b", "`\"\\", "a`\n\\\"", "a`b\\\nEND\nENDD", "`\\\" {$OFFLOAD_TEST}",
		"<<END", `\<<END`, "<", "{", "}", "{}", "{path}", "{$OFFLOAD_TEST}", "{$OFFLOAD_TEST:x}", "{$", "{$}", "{$$", "{{$a}}",
		"`{$OFFLOAD_TEST}", "a{$OFFLOAD_TEST}\\", "import", ",", "a,",
	} {
		checkQuoted(t, value)
	}
}

// All short values of letters that mean something somewhere.
func TestSidecarTakesAllShortFlagsAsWritten(t *testing.T) {
	const letters = "\\\"`{$}<# \na"
	values := []string{""}
	for range 4 {
		var longer []string
		for _, value := range values {
			for _, letter := range letters {
				longer = append(longer, value+string(letter))
			}
		}
		values = longer
		for _, value := range values {
			checkQuoted(t, value)
		}
	}
}

func FuzzSidecarQuote(f *testing.F) {
	for _, value := range []string{`sp\x y`, "a`\\\"b", "{$HOME}", "a`b\\\nEND\nENDD", "\xff"} {
		f.Add(value)
	}
	f.Fuzz(checkQuoted)
}
