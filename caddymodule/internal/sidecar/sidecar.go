// Package sidecar has the command "caddy offload run": it writes a Caddyfile from flags
// and runs it. It has the names of options only; Caddy checks their values.
package sidecar

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
	"github.com/caddy-offload/caddy-offload/internal/backends"
)

// sidecar has the values of the flags of "caddy offload run". Caddy checks them when it
// reads the Caddyfile that is written from them.
type sidecar struct {
	from         string
	to           []string
	match        []string
	backend      string
	keepalive    string
	root         string
	admin        string
	log          bool
	options      []option
	serverTiming bool
	showQuery    bool
	handleReject string
	print        bool
}

// option is an option of a Caddyfile that has a flag.
type option struct {
	of    string // the block of the option
	name  string
	usage string
	value string   // empty if it is not set
	why   []string // comments above it, if --backend has set it
}

// Blocks of options.
const (
	inDirective = ""
	inBreaker   = "breaker"
	inSpool     = "spool"
	inGlobal    = "global"
)

// routeAndGlobalOptions are the options that are not settings of a pool.
var routeAndGlobalOptions = []option{
	{of: inDirective, name: "first_byte_timeout", usage: "The longest time until a response begins, or 'off' (default 60s)"},
	{of: inDirective, name: "run_timeout", usage: "The longest time until a response is complete, or 'off' (default off)"},
	{of: inDirective, name: "on_abandon", usage: "What happens when a client leaves: 'auto', 'finish' or 'cancel' (default auto)"},
	{of: inDirective, name: "abandon_timeout", usage: "How long an abandoned run may go on, or 'off' (default from the timeouts)"},
	{of: inDirective, name: "resend", usage: "How often a request may be sent to the service again, or 'off' (default 1)"},
	{of: inDirective, name: "request_spool", usage: "How much of a request body is kept: '<memory> [<file>]' or 'off' (default '256KiB 1GiB')"},
	{of: inDirective, name: "response_spool", usage: "How much of a response is kept: '<memory> [<file>]' or 'off' (default '256KiB 1GiB')"},
	{of: inDirective, name: "unspooled", usage: "Which request bodies are passed on as they arrive: '<kind> ...' or 'off' (default all but resumable, with half of the permits)"},
	{of: inDirective, name: "stall_timeout", usage: "How long a full spool may block a run, or 'off' (default 60s)"},
	{of: inDirective, name: "upgrades", usage: "The permit of an upgraded connection: 'pass' or 'hold' (default pass)"},
	{of: inDirective, name: "reject_status", usage: "The status of rejections under overload (default 503)"},
	{of: inDirective, name: "proxy_status_name", usage: "The name of this proxy in Proxy-Status fields (default none)"},
	{of: inSpool, name: "dir", usage: "The folder for temporary files"},
	{of: inSpool, name: "memory", usage: "The limit of all bodies together in memory (default 256MiB)"},
	{of: inSpool, name: "disk", usage: "The limit of all bodies together in files (default 8GiB)"},
	{of: inSpool, name: "uploads", usage: "How many request bodies are read at once (default 1000)"},
	{of: inSpool, name: "min_rate", usage: "The least rate of a request body in bytes a second, or 'off' (default 500)"},
	{of: inGlobal, name: "explain", usage: "How many unserved requests are remembered, or 'off' (default 1024)"},
}

func newSidecar() *sidecar {
	options := []option{{of: inDirective, name: "name", usage: "The pool's name in metrics and commands (default sidecar)"}}
	for _, s := range settings.Pool {
		options = append(options, option{of: inDirective, name: s.Name, usage: s.Help()})
	}
	options = append(options, option{of: inDirective, name: "breaker", usage: "'off' for no breaker"})
	for _, s := range settings.Breaker {
		options = append(options, option{of: inBreaker, name: s.Name, usage: s.Help()})
	}
	return &sidecar{options: append(options, routeAndGlobalOptions...)}
}

// Command returns the command "run", to be added to "caddy offload".
func Command() *cobra.Command { return newSidecar().command() }

// flag is the option's name on the command line.
func (o *option) flag() string {
	name := strings.ReplaceAll(o.name, "_", "-")
	if o.of == inBreaker || o.of == inSpool {
		return o.of + "-" + name
	}
	return name
}

func (s *sidecar) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --from <addr> --to <addr,...> [--match <path,...>] [--concurrency <n>] [--queue <n>]",
		Short: "Runs a proxy in front of a blocking service, without a configuration file",
		Long: `
Runs a proxy as a sidecar in front of a blocking service. Requests that match wait
for a permit; others pass untouched. Without --match all requests match.

The flags are the whole configuration, one for each option of a Caddyfile. --print
shows the Caddyfile that they stand for, as a start for your own.

--backend names the kind of the service. It sets how many requests may run at once,
whether connections to the service are kept, and what happens when a client leaves.
Other flags override it. With --backend php the service speaks FastCGI: --to is the
address of PHP-FPM, such as unix//run/php/php8.2-fpm.sock, and --root the folder of
the site, whose other files are served without a permit.

The proxy listens on --from only, in plain HTTP unless that begins with https://, and
serves requests for any host: 127.0.0.1:8080, [::1]:8080, name:8080, 8080 for every
address, or unix//run/offload.sock.

The other commands find its admin endpoint at the usual address, unless another
server has that already. Next to another Caddy give it a different address with
--admin, and the commands the same with --address.`,
		Example: "  caddy offload run --from :8080 --to 127.0.0.1:8000 --match '/report/*' --backend node",
		Args:    cobra.NoArgs,
		RunE:    caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return s.run() }),
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&s.from, "from", "f", "127.0.0.1:8080", "The address to listen on; a port alone is every address")
	flags.StringSliceVarP(&s.to, "to", "t", nil, "The address of the service, or several")
	flags.StringSliceVarP(&s.match, "match", "m", nil, "The paths that block (default all)")
	flags.StringVarP(&s.backend, "backend", "b", "", "The kind of the service, for defaults of other flags: "+strings.Join(backends.Names(), ", "))
	flags.StringVar(&s.keepalive, "keepalive", "", "How long idle connections to the service are kept, or 'off' (default 2m)")
	flags.StringVar(&s.root, "root", "", "The folder of the site, for --backend php")
	flags.StringVar(&s.admin, "admin", adminAuto, "The address of the admin endpoint, or 'off'")
	flags.BoolVar(&s.log, "access-log", false, "Log each request")
	flags.BoolVar(&s.print, "print", false, "Print the Caddyfile and exit")
	for i := range s.options {
		o := &s.options[i]
		flags.StringVar(&o.value, o.flag(), "", o.usage)
	}
	flags.BoolVar(&s.showQuery, "show-query", false, "Show requests on the admin endpoint with their queries")
	flags.BoolVar(&s.serverTiming, "server-timing", false, "Add Server-Timing fields with the time in the queue")
	cmd.SetFlagErrorFunc(suggestFlag)
	flags.StringVar(&s.handleReject, "handle-reject", "", "Directives that answer rejected requests, such as 'respond \"busy\" 503'")
	return cmd
}

// suggestFlag adds the flag that was probably meant to an error about an unknown one.
func suggestFlag(cmd *cobra.Command, err error) error {
	unknown := new(pflag.NotExistError)
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return fmt.Errorf("%w%s", err, suggest.DidYouMean("; ", "--"+unknown.GetSpecifiedName(), names))
}
