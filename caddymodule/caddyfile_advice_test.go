package caddymodule_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// adapt returns the error of a Caddyfile, or nothing.
func adapt(text string) string {
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error()
	}
	return ""
}

// written is a line that an error says to write.
var written = regexp.MustCompile(`'([^']+)'`)

// linesAfter returns the lines that an advice says to write after some words.
func linesAfter(advice, words string) string {
	_, rest, found := strings.Cut(advice, words)
	if !found {
		return ""
	}
	for _, end := range []string{", and define", "; known pools", " in the block", ", at Caddyfile"} {
		rest, _, _ = strings.Cut(rest, end)
	}
	var lines []string
	for _, match := range written.FindAllStringSubmatch(rest, -1) {
		lines = append(lines, match[1])
	}
	return strings.Join(lines, "\n\t")
}

// caddyfileOf is a site with a directive, and with global options.
func caddyfileOf(global, directive string) string {
	if global != "" {
		global = "{\n\t" + global + "\n}\n"
	}
	return global + ":8080 {\n\t" + directive + "\n\treverse_proxy 127.0.0.1:8000\n}\n"
}

const reportsPool = "offload {\n\tpool reports\n}"

// What an error advises loads when it is written to the letter, and is the likely intention.
func TestAdviceInErrorsLoads(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ global, wrong, want, right string }{
		{"", "offload /report/* /export/*", "offload takes one matcher, and one for several paths has a name", "@blocking path /report/* /export/*\n\toffload @blocking"},
		{"", "offload /a/* /b/* /c/*", "offload takes one matcher", "@blocking path /a/* /b/* /c/*\n\toffload @blocking"},
		{reportsPool, "offload /a/* /b/* reports", "offload takes one matcher", "@blocking path /a/* /b/*\n\toffload @blocking reports"},
		{reportsPool, "offload /a/* reports /b/*", "offload takes one matcher", "@blocking path /a/* /b/*\n\toffload @blocking reports"},
		{"", "@a path /a\n\toffload @a /b/*", "offload takes one matcher", "offload @a\n\toffload /b/*"},
		{"", "offload report/*", "paths begin with '/'", "offload /report/*"},
		{reportsPool, "offload report/* reports", "paths begin with '/'", "offload /report/* reports"},
		{"", "offload .pdf", "is neither a pool nor an inline matcher", "@blocking path *.pdf\n\toffload @blocking"},
		{reportsPool, "offload *.pdf reports", "is neither a pool nor an inline matcher", "@blocking path *.pdf\n\toffload @blocking reports"},
		{"", "offload index.php", "would not include pretty URLs", "@dynamic {\n\tnot {\n\tfile\n\tnot path *.php\n\t}\n\t}\n\toffload @dynamic"},
		{"", "offload /report/* concurrency 4", "'concurrency' is an option, and options stand in a block", "offload /report/* {\n\tconcurrency 4\n\t}"},
		{"", "offload concurrency 4 queue 5", "'concurrency' is an option", "offload {\n\tconcurrency 4\n\tqueue 5\n\t}"},
		{"", "offload report/* concurrency 4", "'concurrency' is an option", "offload /report/* {\n\tconcurrency 4\n\t}"},
		{"", "offload /report/* reports concurrency 4", "'concurrency' is an option", "offload /report/* {\n\tname reports\n\tconcurrency 4\n\t}"},
		{reportsPool, "offload /report/* reports run_timeout 5m", "'run_timeout' is an option", "offload /report/* reports {\n\trun_timeout 5m\n\t}"},
		{reportsPool, "offload reports /report/*", "the matcher comes first", "offload /report/* reports"},
	} {
		advice := adapt(caddyfileOf(test.global, test.wrong))
		if !strings.Contains(advice, test.want) || !strings.Contains(advice, "at Caddyfile:") {
			t.Errorf("%s: got %s, want %s", test.wrong, advice, test.want)
			continue
		}
		lines := linesAfter(advice, "write ")
		if lines != test.right {
			t.Errorf("%s: it advises\n%s\nwant\n%s", test.wrong, lines, test.right)
		}
		if matchers, _, ok := strings.Cut(test.wrong, "\n"); ok {
			lines = matchers + "\n\t" + lines // a definition of a matcher stays
		}
		if err := adapt(caddyfileOf(test.global, lines)); err != "" {
			t.Errorf("%s: the advice does not load: %s\n%s", test.wrong, err, lines)
		}
	}
}

// A pool that is not defined: the error says how, with and without a global option, and
// which one was probably meant.
func TestAdviceOnUnknownPoolsLoads(t *testing.T) {
	t.Parallel()
	const wrong = "offload /report/* reports"
	advice := adapt(caddyfileOf("", wrong))
	if global := linesAfter(advice, "define it in the global option: write "); global != "offload {\n\tpool reports\n\t}" {
		t.Errorf("got %s", advice)
	} else if err := adapt(caddyfileOf(global, wrong)); err != "" {
		t.Errorf("the advice does not load: %s", err)
	}
	advice = adapt(caddyfileOf("offload {\n\tpool tiles\n}", wrong))
	line := strings.TrimSuffix(linesAfter(advice, "define it by a line "), "\n\toffload")
	if line != "pool reports" || !strings.Contains(advice, "; known pools: 'tiles'") {
		t.Errorf("got %s", advice)
	} else if err := adapt(caddyfileOf("offload {\n\tpool tiles\n\t"+line+"\n}", wrong)); err != "" {
		t.Errorf("the advice does not load: %s", err)
	}
	advice = adapt(caddyfileOf(reportsPool, "offload /report/* report"))
	if !strings.Contains(advice, "unknown pool 'report'; did you mean 'reports'?, at") {
		t.Errorf("got %s", advice)
	}
	advice = adapt(caddyfileOf("", "offload reports /report/*"))
	global := linesAfter(advice, "and define it in the global option: write ")
	if err := adapt(caddyfileOf(global, linesAfter(advice, "the matcher comes first: write "))); err != "" || global == "" {
		t.Errorf("the advice does not load: %s\n%s", err, advice)
	}
	advice = adapt(caddyfileOf("", "offload /a/* {\n\tname reports\n\t}\n\toffload /b/* reports"))
	global = linesAfter(advice, "define it in the global option: write ")
	right := strings.ReplaceAll(linesAfter(advice, "in its block, and write "), "\n\tname reports", "")
	if err := adapt(caddyfileOf(global, strings.Replace(right, "<matcher>", "/a/*", 1)+"\n\toffload /b/* reports")); err != "" {
		t.Errorf("the advice does not load: %s\n%s", err, advice)
	}
}

// A brace that is missing above a directive, and words that are close to options.
func TestUnknownOptionsAreExplained(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"concurency 4":     "unrecognized subdirective 'concurency' of offload: did you mean 'concurrency'?",
		"maxwait 5s":       "unrecognized subdirective 'maxwait' of offload: did you mean 'max_wait'?",
		"run-timeout 5s":   "unrecognized subdirective 'run-timeout' of offload: did you mean 'run_timeout'?",
		"cool_down 5s":     "unrecognized subdirective 'cool_down' of offload: it belongs to the block of 'breaker'",
		"respond \"x\" 5":  "unrecognized subdirective 'respond' of offload: it is a directive, so a '}' is missing above it, which ends the block of offload",
		"reverse_proxy :1": "unrecognized subdirective 'reverse_proxy' of offload: it is a directive, so a '}' is missing above it",
		"colour blue":      "unrecognized subdirective 'colour' of offload, at",
	} {
		if got := adapt(caddyfileOf("", "offload {\n\tqueue 5\n\t"+options+"\n\t}")); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", options, got, want)
		}
	}
	const broken = ":8080 {\n\toffload /report/* {\n\t\tconcurrency 4\n\treverse_proxy 127.0.0.1:8000\n}\n"
	got := adapt(broken)
	if !strings.Contains(got, "a '}' is missing above it") || !strings.Contains(got, "Caddyfile:4") {
		t.Errorf("got %s", got)
	}
	if err := adapt(strings.Replace(broken, "\treverse_proxy", "\t}\n\treverse_proxy", 1)); err != "" {
		t.Errorf("the advice does not load: %s", err)
	}
}
