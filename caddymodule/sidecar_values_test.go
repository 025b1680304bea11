package caddymodule_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// printed runs "caddy offload run --print".
func printed(t *testing.T, args ...string) output {
	t.Helper()
	return command(t, append([]string{"run", "--print"}, args...)...)
}

// A Caddyfile that is printed loads. What does not load is an error in words of flags, and
// nothing is printed.
func TestSidecarPrintsWhatLoadsOnly(t *testing.T) {
	t.Parallel()
	got := printed(t, "--to", "127.0.0.1:8000", "--match", "/report/*", "--ready", "/ready")
	if got.code != 0 || got.err != "" {
		t.Fatalf("got %+v", got)
	}
	if _, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(got.out), nil); err != nil || len(warnings) > 0 {
		t.Errorf("it does not load: %v %v\n%s", err, warnings, got.out)
	}
	for args, want := range map[string]string{
		"--concurrency 0":                           "bad --concurrency value '0': want a whole number from 1 to 2147483647, or 'off'",
		"--concurrency -3":                          "bad --concurrency value '-3': want ",
		"--max-wait 10":                             "bad --max-wait value '10': want a duration such as 10s, or 'off'",
		"--request-spool lots":                      "bad --request-spool value 'lots': want a size such as 256KiB",
		"--run-timeout 5s --first-byte-timeout 10s": "--first-byte-timeout 10s is above --run-timeout 5s and would never end a run: lower it, or leave it out",
		"--breaker-window 1s --run-timeout 1m":      "--breaker-window 1s is too short for the timeout 1m0s",
		"--breaker-failure-ratio 2":                 "bad --breaker-failure-ratio value '2': want a number above 0 and up to 1, or 'off'",
		"--breaker-failure-ratio off":               "a breaker without a rule: set --breaker-failure-ratio, --breaker-consecutive-failures or --breaker-slow-ratio, or write '--breaker off'",
		"--breaker-statuses 600":                    "bad --breaker-statuses value '600': want codes from 400 to 599, or the classes 4xx and 5xx",
		"--breaker-slow-ratio 0.5":                  "bad --breaker-slow-ratio value '0.5': want <ratio> <duration>, such as 0.5 2s, or 'off' alone",
		"--breaker-hold 5s --queue 0":               "--breaker-hold 5s lets requests wait, and queue 0 has no place for them",
		"--spool-memory lots":                       "bad --spool-memory value 'lots': want a size such as 256KiB",
		"--grace soon":                              "--grace: ",
		"--keepalive soon":                          "--keepalive: ",
		"--handle-reject respnd":                    "--handle-reject: ",
		"--on-abandon ignore":                       "bad --on-abandon value 'ignore': want auto or finish or cancel",
		"--admin nowhere:99999":                     `--admin "nowhere:99999": invalid start port`,
		"--to http://h:1/api":                       `--to "http://h:1/api": the address of a service has no path: write http://h:1`,
		"--to 99999":                                `--to "99999": a port is a number from 1 to 65535`,
		"--to ftp://h":                              `--to "ftp://h": an address begins with http://, https:// or h2c://, not ftp://`,
		"--match report/*":                          `--match "report/*": paths begin with '/': write --match '/report/*'`,
		"--match @slow":                             `--match "@slow": named matchers exist in a Caddyfile only`,
		"--ready ready":                             `--ready "ready": want one path, as in /ready`,
		"--ready /ready/*":                          `--ready "/ready/*": want one path, as in /ready`,
		"--from ftp://localhost:21":                 `--from "ftp://localhost:21": an address begins with http:// or https://`,
	} {
		fields := strings.Fields(args)
		if !slices.Contains(fields, "--to") {
			fields = append(fields, "--to", "127.0.0.1:8000")
		}
		got := printed(t, fields...)
		if got.code != 1 || got.out != "" || !strings.HasPrefix(got.err, "Error: "+want) {
			t.Errorf("%s: got %+v, want %s", args, got, want)
		}
		for _, inner := range []string{"flags:", "tokens", "Caddyfile:", `"level"`} {
			if strings.Contains(got.err, inner) {
				t.Errorf("%s: the error speaks of %s: %s", args, inner, got.err)
			}
		}
	}
}

// At the start errors are text too, also for a service manager.
func TestSidecarFailsInText(t *testing.T) {
	t.Parallel()
	got := command(t, "run", "--admin", "off", "--from", site.FreeAddr(t), "--to", "127.0.0.1:8000", "--max-wait", "10")
	if got.code != 1 || got.err != "Error: bad --max-wait value '10': want a duration such as 10s, or 'off'\n" {
		t.Errorf("got %+v", got)
	}
}

// A path without * is one path only, which may be a mistake.
func TestSidecarHintsAtSinglePaths(t *testing.T) {
	t.Parallel()
	const hint = "caddy offload: --match /report is this one path: for the paths below it add --match '/report/*'\n"
	if got := printed(t, "--to", "8000", "--match", "/report"); got.code != 0 || got.err != hint || !strings.Contains(got.out, "reverse_proxy 127.0.0.1:8000\n") {
		t.Errorf("got %+v", got)
	}
	for _, match := range []string{"/report/*", "*", "*.pdf", "/report*"} {
		if got := printed(t, "--to", "8000", "--match", match); got.code != 0 || got.err != "" {
			t.Errorf("%s: got %+v", match, got)
		}
	}
}

// Short and long forms of the service's address.
func TestSidecarReadsTheAddressOfTheService(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"8000": "127.0.0.1:8000", ":8000": "127.0.0.1:8000", "localhost:8000": "localhost:8000", "http://127.0.0.1:8000/": "http://127.0.0.1:8000",
		"https://example.com": "https://example.com", "unix//run/app.sock": "unix//run/app.sock", "[::1]:8000": "[::1]:8000", "8000,8001": "127.0.0.1:8000 127.0.0.1:8001",
	} {
		if got := printed(t, "--to", to); got.code != 0 || !strings.Contains(got.out, "\treverse_proxy "+want+"\n") {
			t.Errorf("%s: got %+v, want %s", to, got, want)
		}
	}
}
