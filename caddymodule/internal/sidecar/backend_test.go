package sidecar_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-offload/caddy-offload/internal/backends"
)

// sidecarOfBackend is the Caddyfile for a backend, which Caddy can read.
func sidecarOfBackend(t *testing.T, name string, args ...string) string {
	t.Helper()
	args = append([]string{"--to", "127.0.0.1:8000", "--backend", name}, args...)
	if name == "php" {
		args = append(args, "--root", t.TempDir())
	}
	text, err := sidecarOf(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil); err != nil || len(warnings) > 0 {
		t.Fatalf("it cannot be adapted as it is: %v %v\n%s", err, warnings, text)
	}
	return text
}

// has reports whether a Caddyfile has a line, however deep.
func has(text, line string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(l string) bool { return strings.TrimSpace(l) == line })
}

// Each backend has what the table says of it, with a comment that says why.
func TestSidecarIsSetForItsBackend(t *testing.T) {
	for _, b := range backends.All() {
		text := sidecarOfBackend(t, b.Name)
		for line, want := range map[string]bool{
			"concurrency " + strconv.Itoa(b.Concurrency): true,
			"# " + b.Name + ": " + b.Reason:              true,
			"# or: " + b.More:                            true,
			"keepalive off":                              b.KeepaliveOff != "",
			"# " + b.Name + ": " + b.KeepaliveOff:        b.KeepaliveOff != "",
			"on_abandon cancel":                          b.Stops != "",
			"# " + b.Name + ": " + b.Stops:               b.Stops != "",
			"php_fastcgi 127.0.0.1:8000":                 b.FastCGI,
			"file_server":                                b.FastCGI,
		} {
			if has(text, line) != want {
				t.Errorf("%s: has %q: %t\n%s", b.Name, line, !want, text)
			}
		}
	}
}

// Flags override the backend, and have no comments.
func TestSidecarFlagsWinOverItsBackend(t *testing.T) {
	text := sidecarOfBackend(t, "node", "--concurrency", "3", "--keepalive", "30s")
	for line, want := range map[string]bool{"concurrency 3": true, "concurrency 1": false, "keepalive 30s": true, "keepalive off": false} {
		if has(text, line) != want {
			t.Errorf("has %q: %t\n%s", line, !want, text)
		}
	}
	if strings.Contains(text, "#") {
		t.Errorf("it explains what the user has decided\n%s", text)
	}
	if text := sidecarOfBackend(t, "sanic-await", "--on-abandon", "auto"); !has(text, "on_abandon auto") || has(text, "on_abandon cancel") {
		t.Errorf("got\n%s", text)
	}
	if text, err := sidecarOf(t, "--to", "127.0.0.1:8000", "--keepalive", "off"); err != nil || !has(text, "keepalive off") {
		t.Errorf("without a backend: %v\n%s", err, text)
	}
}

// Addresses with permits of each need the policy, and no permits of the pool.
func TestSidecarBalances(t *testing.T) {
	for name, proxy := range map[string]string{"node": "reverse_proxy 127.0.0.1:8000 {", "php": "php_fastcgi 127.0.0.1:8000 {"} {
		text := sidecarOfBackend(t, name, "--upstream-concurrency", "3")
		for line, want := range map[string]bool{"upstream_concurrency 3": true, "lb_policy offload": true, proxy: true, "concurrency 1": false} {
			if has(text, line) != want {
				t.Errorf("%s: has %q: %t\n%s", name, line, !want, text)
			}
		}
		if text := sidecarOfBackend(t, name, "--upstream-concurrency", "off"); has(text, "lb_policy offload") {
			t.Errorf("%s: got\n%s", name, text)
		}
	}
}

// Files that PHP-FPM has no part in take no permits, and pretty URLs do.
func TestSidecarOfPHPHasItsPaths(t *testing.T) {
	want := "@blocking {\n\t\tpath /report/*\n\t\tnot {\n\t\t\tfile\n\t\t\tnot path *.php\n\t\t}\n\t}"
	if text := sidecarOfBackend(t, "php", "--match", "/report/*"); !strings.Contains(text, want) {
		t.Errorf("got\n%s", text)
	}
	want = "@blocking {\n\t\tnot {"
	if text := sidecarOfBackend(t, "php"); !strings.Contains(text, want) {
		t.Errorf("got\n%s", text)
	}
}

func TestSidecarRefusesWhatFitsNoBackend(t *testing.T) {
	for args, want := range map[string]string{
		"--backend nodejs":                       `unknown backend "nodejs": known are aiohttp, `,
		"--backend php":                          "--backend php needs --root",
		"--backend php --root /s --keepalive 1s": "--keepalive does not go with --backend php",
		"--backend node --root /s":               "--root goes with --backend php only",
		"--root /s":                              "--root goes with --backend php only",
	} {
		_, err := sidecarOf(t, append([]string{"--to", "127.0.0.1:8000"}, strings.Fields(args)...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", args, err, want)
		}
	}
}
