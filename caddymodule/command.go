package caddymodule

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "offload",
		Short: "Protects a blocking service from more work than it can take",
		Long: `
The commands of caddy-offload: a bounded queue, deadlines and a circuit breaker
in front of a service that blocks.`,
		CobraFunc: func(cmd *cobra.Command) { cmd.AddCommand(runCommand()) },
	})
}

// sidecar is what the flags of "caddy offload run" describe. Its values are
// words of a Caddyfile, which checks them.
type sidecar struct {
	from  string
	to    []string
	match []string
	admin string
	log   bool
	words []sidecarWord
	print bool
}

// sidecarWord is a word of the directive that has a flag.
type sidecarWord struct{ word, value, usage string }

func newSidecar() *sidecar {
	return &sidecar{words: []sidecarWord{
		{word: "concurrency", usage: "How many requests may run at once, or 'off' (default 8)"},
		{word: "queue", usage: "How many requests may wait (default 100)"},
		{word: "max_wait", usage: "The longest wait, or 'off' (default 10s)"},
		{word: "first_byte_timeout", usage: "The longest time until an answer begins, or 'off' (default 60s)"},
		{word: "run_timeout", usage: "The longest time until an answer is complete, or 'off' (default off)"},
	}}
}

func runCommand() *cobra.Command {
	s := newSidecar()
	cmd := &cobra.Command{
		Use:   "run --from <addr> --to <addr,...> [--match <path,...>] [--concurrency <n>] [--queue <n>]",
		Short: "Runs a proxy in front of a blocking service, without any file",
		Long: `
A proxy in one line, as a sidecar in front of a blocking service. Requests that
match wait for one of its permits; others pass untouched. Without --match all
requests do.

The proxy is configured by the flags alone. --print shows the Caddyfile that they
stand for, as a start for one of your own.`,
		Example: "  caddy offload run --from :8080 --to 127.0.0.1:8000 --match '/report/*' --concurrency 8",
		Args:    cobra.NoArgs,
		RunE:    caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return s.run() }),
	}
	flags := cmd.Flags()
	flags.StringVarP(&s.from, "from", "f", ":8080", "The address to listen on")
	flags.StringSliceVarP(&s.to, "to", "t", nil, "The address of the service, or several")
	flags.StringSliceVarP(&s.match, "match", "m", nil, "The paths that block (default all)")
	flags.StringVar(&s.admin, "admin", "off", "The address of the admin endpoint, or 'off'")
	flags.BoolVar(&s.log, "access-log", false, "Log each request")
	flags.BoolVar(&s.print, "print", false, "Print the Caddyfile and exit")
	for i := range s.words {
		w := &s.words[i]
		flags.StringVar(&w.value, strings.ReplaceAll(w.word, "_", "-"), "", w.usage)
	}
	return cmd
}

func (s *sidecar) run() (int, error) {
	text, err := s.caddyfile()
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if s.print {
		_, err := os.Stdout.Write(text)
		return caddy.ExitCodeSuccess, err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": "flags"})
	if err != nil {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("%w (see --print for the lines)", err)
	}
	caddy.TrapSignals()
	if err := caddy.Load(config, true); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	fmt.Fprintf(os.Stderr, "caddy offload: %s -> %s\n", s.from, strings.Join(s.to, " "))
	select {} // until a signal ends the process
}

// caddyfile writes what the flags stand for.
func (s *sidecar) caddyfile() ([]byte, error) {
	if len(s.to) == 0 {
		return nil, errors.New("--to is required: the address of the service, such as 127.0.0.1:8000")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "{\n\tadmin %s\n\tpersist_config off\n}\n\n%s {\n", quote(s.admin), quote(s.from))
	if s.log {
		b.WriteString("\tlog\n")
	}
	matcher := ""
	if len(s.match) > 0 {
		fmt.Fprintf(&b, "\t@blocking path%s\n", quoteAll(s.match))
		matcher = "@blocking "
	}
	fmt.Fprintf(&b, "\toffload %s{\n\t\tname sidecar\n", matcher)
	for _, w := range s.words {
		if w.value != "" {
			fmt.Fprintf(&b, "\t\t%s %s\n", w.word, quote(w.value))
		}
	}
	fmt.Fprintf(&b, "\t}\n\treverse_proxy%s\n}\n", quoteAll(s.to))
	return caddyfile.Format([]byte(b.String())), nil
}

func quoteAll(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(" " + quote(t))
	}
	return b.String()
}

// quote makes one token of a Caddyfile out of a flag's value.
func quote(token string) string {
	if token != "" && !strings.ContainsAny(token, " \t\r\n\"`{}#\\") {
		return token
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(token) + `"`
}
