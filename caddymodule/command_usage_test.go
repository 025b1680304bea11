package caddymodule_test

import (
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A script that pauses a pool before it restarts a service must stop at a mistyped command:
// it exits with a code for that, suggests a command, and asks no server.
func TestCommandLinesThatAreWrong(t *testing.T) {
	t.Parallel()
	unused := site.FreeAddr(t)
	for args, want := range map[string]string{
		"drian":                        "unknown command 'drian' of offload: did you mean 'drain'?",
		"drian reports --wait 5s":      "unknown command 'drian' of offload: did you mean 'drain'?",
		"pols":                         "unknown command 'pols' of offload: did you mean 'pools'?",
		"stop":                         "unknown command 'stop' of offload: ",
		"xyzzy":                        "unknown command 'xyzzy' of offload: 'caddy offload' alone lists the commands",
		"breaker":                      "breaker wants the name of a pool and one of open, closed, auto, got none",
		"breaker reports":              "breaker wants the name of a pool and one of open, closed, auto, got 'reports'",
		"breaker reports opne":         "unknown state 'opne': want one of open, closed, auto; did you mean 'open'?",
		"breaker reports ajar":         "unknown state 'ajar': want one of open, closed, auto",
		"drain":                        "drain wants the name of a pool, got none",
		"drain reports exports":        "drain wants the name of a pool, got 'reports' 'exports'",
		"set reports":                  "set wants the name of a pool and one setting or more, as in concurrency=16, got 'reports'",
		"cancel":                       "cancel wants the id of a request, got none",
		"waiting a b":                  "waiting takes at most the name of a pool, got 'a' 'b'",
		"pools reports":                "pools takes no arguments, got 'reports'",
		"run --to 8000 reports":        "run takes no arguments, got 'reports'",
		"version now":                  "version takes no arguments, got 'now'",
		"drain reports --wiat 5s":      "unknown flag: --wiat; did you mean '--wait'?",
		"pools --adress :2019":         "unknown flag: --adress; did you mean '--address'?",
		"run --to 8000 --maxwait 5s":   "unknown flag: --maxwait; did you mean '--max-wait'?",
		"run --to 8000 --max_wait 5s":  "unknown flag: --max_wait; did you mean '--max-wait'?",
		"run --to 8000 --concurency 5": "unknown flag: --concurency; did you mean '--concurrency'?",
		"top --interval soon":          `invalid argument "soon" for "--interval" flag`,
		"--adress :2019":               "unknown flag: --adress",
	} {
		fields := strings.Fields(args)
		if !strings.HasPrefix(args, "-") && fields[0] != "run" && fields[0] != "version" {
			fields = append(fields, "--address", unused)
		}
		got := command(t, fields...)
		if got.code != 2 || !strings.HasPrefix(got.err, "Error: "+want) || got.out != "" || strings.Count(got.err, "\n") != 1 {
			t.Errorf("%s: got %+v, want code 2 and %s", args, got, want)
		}
	}
}

// Help is no error.
func TestCommandsExplainThemselves(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"help drain": "Rejects new requests", "help": "Available Commands:", "": "Available Commands:", "--help": "Available Commands:", "drain --help": "Rejects new requests", "pools --help": "newest first",
		"run --help": "--ready", "version": "caddy-offload ", "--version": "caddy-offload ",
	} {
		got := command(t, strings.Fields(args)...)
		if got.code != 0 || !strings.Contains(got.out, want) || got.err != "" {
			t.Errorf("%q: got %+v, want %s", args, got, want)
		}
	}
}

// An empty CADDY_ADMIN is no address of a server.
func TestCommandsSayThatTheAdminAddressIsEmpty(t *testing.T) {
	t.Parallel()
	cmd := caddyCommand(t, "offload", "pools")
	cmd.Env = append(cmd.Env, "CADDY_ADMIN=")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CADDY_ADMIN is empty: unset it, or name the admin endpoint with --address") {
		t.Errorf("got %s, %v", out, err)
	}
}
