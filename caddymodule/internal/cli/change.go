package cli

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/usage"
)

// changes are the commands that change pools.
func changes() []command {
	return []command{
		{
			use: "set NAME KEY=VALUE...", short: "Overrides settings of a pool",
			long: `
Overrides settings of a pool at once, without a reload: ` + strings.Join(settings.Overridable.Names(), ", ") + `.
The value "reset" resets a setting to its configured value. An override stays through
reloads until one changes the settings of the pool.`,
			example: "  caddy offload set reports concurrency=16 queue=50 max_wait=5s",
			args:    cobra.MinimumNArgs(2), poolArg: true, run: setPool,
		},
		{
			use: "reset NAME", short: "Resets overridden settings",
			args: cobra.ExactArgs(1), poolArg: true,
			run: func(s *call) error { return s.change(http.MethodDelete, "override", nil) },
		},
		{
			use: "breaker NAME open|closed|auto", short: "Forces the breaker open or closed, or returns it to automatic",
			args: cobra.ExactArgs(2), poolArg: true,
			run: setBreaker,
		},
		{
			use: "pause NAME", short: "Pauses a pool: new requests wait in the queue, and none starts",
			args: cobra.ExactArgs(1), poolArg: true,
			run: func(s *call) error { return s.change(http.MethodPost, "pause", nil) },
		},
		{
			use: "resume NAME", short: "Ends a pause or a drain",
			args: cobra.ExactArgs(1), poolArg: true,
			run: func(s *call) error { return s.change(http.MethodPost, "resume", nil) },
		},
		drainCommand(),
	}
}

// change changes the pool named by the first argument, and prints its new state.
func (s *call) change(method, action string, body any) error {
	var p pool
	text, err := s.onPool(method, s.Args[0], action, body, &p)
	if err != nil || s.JSON {
		return s.OrJSON(text, err)
	}
	fmt.Fprintln(s.Out, p.line())
	return nil
}

// line returns the state of a pool in one line.
func (p *pool) line() string {
	parts := []string{
		p.phase(), p.share() + " running", fmt.Sprintf("%d/%d waiting", p.Waiting, p.QueueLimit),
	}
	if p.Uploading > 0 {
		parts = append(parts, fmt.Sprintf("%d uploading", p.Uploading))
	}
	if p.Predecessors > 0 {
		parts = append(parts, fmt.Sprintf("%d in predecessors", p.Predecessors))
	}
	parts = append(parts, "breaker "+p.breakerState())
	return admincommand.Clean(p.Name) + ": " + strings.Join(append(parts, p.overrides()...), ", ")
}

func setPool(s *call) error {
	fields := make(map[string]any)
	for _, arg := range s.Args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || value == "" {
			return fmt.Errorf("bad argument '%s': want key=value, such as concurrency=16", arg)
		}
		if _, twice := fields[key]; twice {
			return fmt.Errorf("'%s' is set twice", key)
		}
		fields[key] = valueOf(value)
	}
	return s.change(http.MethodPatch, "", fields)
}

func setBreaker(s *call) error {
	state := s.Args[1]
	if err := usage.Choice(s.Cmd, "state", state, "open", "closed", "auto"); err != nil {
		return err
	}
	return s.change(http.MethodPost, "breaker", map[string]string{"state": state})
}

// valueOf returns a value for JSON: a number, text, or nil for a reset.
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
		use: "drain NAME [--wait DURATION]", short: "Stops admission and lets admitted requests finish",
		long: `
Rejects new requests. Requests that are already uploading, waiting or running can
finish. With --wait the command exits with code 0 as soon as the pool is empty, or with
code 3 if requests are left after that time. It prints the numbers of the pool.
"resume" ends the drain.`,
		args: cobra.ExactArgs(1), poolArg: true,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().DurationVar(&wait, "wait", 0, "How long to wait for the end of the drain")
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
	text, err := s.onPool(http.MethodPost, s.Args[0], "drain", body, &p)
	switch {
	case err != nil:
		return err
	case s.JSON:
		if err := s.PrintJSON(text); err != nil {
			return err
		}
	default:
		fmt.Fprintln(s.Out, p.line())
	}
	if wait > 0 && p.inFlight() > 0 {
		return usage.Exit(s.Cmd, caddy.ExitCodeFailedQuit)
	}
	return nil
}

// inFlight returns the number of requests that a drain waits for.
func (p *pool) inFlight() int {
	return p.Running - p.Lingering + p.Waiting + p.Uploading + p.Predecessors
}
