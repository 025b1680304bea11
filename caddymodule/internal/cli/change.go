package cli

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// changes are the commands that change pools.
func changes() []command {
	return []command{
		{
			use: "set NAME WORD=VALUE...", short: "Overrides settings of a pool until they are reset",
			long: `
Overrides concurrency, queue, max_wait, order or linger of a pool at once, without
a reload. The value "reset" makes a word count as it is configured. What is
overridden stays so through reloads, until one changes the pool's own settings.`,
			example: "  caddy offload set reports concurrency=16 queue=50 max_wait=5s",
			args:    cobra.MinimumNArgs(2), poolArg: true, run: setPool,
		},
		{
			use: "reset NAME", short: "Makes all settings of a pool count as they are configured",
			args: cobra.ExactArgs(1), poolArg: true,
			run: func(s *call) error { return s.change(http.MethodDelete, "override", nil) },
		},
		{
			use: "breaker NAME open|closed|auto", short: "Holds a breaker open or closed, or gives it back to its rules",
			args: cobra.ExactArgs(2), poolArg: true,
			run: func(s *call) error {
				return s.change(http.MethodPost, "breaker", map[string]string{"state": s.args[1]})
			},
		},
		{
			use: "pause NAME", short: "Hands out no permits of a pool; newcomers wait",
			args: cobra.ExactArgs(1), poolArg: true,
			run: func(s *call) error { return s.change(http.MethodPost, "pause", nil) },
		},
		{
			use: "resume NAME", short: "Ends a pause or a drain of a pool",
			args: cobra.ExactArgs(1), poolArg: true,
			run: func(s *call) error { return s.change(http.MethodPost, "resume", nil) },
		},
		drainCommand(),
	}
}

// change does something to the pool that is named, and prints what came of it.
func (s *call) change(method, action string, body any) error {
	var p pool
	text, err := s.server.onPool(method, s.args[0], action, body, &p)
	if err != nil || s.json {
		return s.orJSON(text, err)
	}
	fmt.Fprintln(s.out, p.line())
	return nil
}

// line says in one line how a pool is.
func (p *pool) line() string {
	parts := []string{
		p.Phase, p.share() + " running", fmt.Sprintf("%d/%d waiting", p.Waiting, p.QueueLimit),
	}
	if p.Uploading > 0 {
		parts = append(parts, fmt.Sprintf("%d uploading", p.Uploading))
	}
	if p.Predecessors > 0 {
		parts = append(parts, fmt.Sprintf("%d in predecessors", p.Predecessors))
	}
	parts = append(parts, "breaker "+p.breakerState())
	return clean(p.Name) + ": " + strings.Join(append(parts, p.overrides()...), ", ")
}

func setPool(s *call) error {
	fields := make(map[string]any)
	for _, arg := range s.args[1:] {
		word, value, ok := strings.Cut(arg, "=")
		if !ok || value == "" {
			return fmt.Errorf("bad argument '%s': want word=value, such as concurrency=16", arg)
		}
		if _, twice := fields[word]; twice {
			return fmt.Errorf("'%s' is set twice", word)
		}
		fields[word] = valueOf(value)
	}
	return s.change(http.MethodPatch, "", fields)
}

// valueOf makes JSON of a value: a number, text, or null to reset it.
func valueOf(text string) any {
	if text == "reset" {
		return nil
	}
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return text
}

func drainCommand() command {
	var wait time.Duration
	return command{
		use: "drain NAME [--wait DURATION]", short: "Refuses newcomers of a pool and finishes what is in it",
		long: `
Refuses newcomers of a pool; what uploads, waits or runs still finishes. With --wait
the command returns when nothing is left, with exit code 0, or when the time is over,
with exit code 3, and says what is left. "resume" ends the drain.`,
		args: cobra.ExactArgs(1), poolArg: true,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().DurationVar(&wait, "wait", 0, "How long to wait until nothing is left")
		},
		run: func(s *call) error { return s.drain(wait) },
	}
}

func (s *call) drain(wait time.Duration) error {
	var body any
	if wait > 0 {
		body = map[string]string{"wait": wait.String()}
	}
	var p pool
	text, err := s.server.onPool(http.MethodPost, s.args[0], "drain", body, &p)
	switch {
	case err != nil:
		return err
	case s.json:
		if err := s.printJSON(text); err != nil {
			return err
		}
	default:
		fmt.Fprintln(s.out, p.line())
	}
	if wait > 0 && p.inFlight() > 0 {
		return exitWith(s.cmd, caddy.ExitCodeFailedQuit)
	}
	return nil
}

// inFlight is what a drain waits for.
func (p *pool) inFlight() int {
	return p.Running - p.Lingering + p.Waiting + p.Uploading + p.Predecessors
}

// exitWith makes Caddy exit with a code above 1, without a word.
func exitWith(cmd *cobra.Command, code int) error {
	cmd.SilenceErrors = true
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })(cmd, nil)
}
