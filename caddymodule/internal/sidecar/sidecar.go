// Package sidecar has the command "caddy offload run": it writes a Caddyfile from flags and
// runs it. The package contains only the names of options; Caddy checks their values.
package sidecar

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/usage"
	"github.com/caddy-offload/caddy-offload/internal/backends"
)

// Command returns the command "run", to be added to "caddy offload".
func Command() *cobra.Command { return newSidecar().command() }

func (s *sidecar) command() *cobra.Command {
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "run --from <addr> --to <addr,...> [--match <path,...>] [--concurrency <n>] [--queue <n>]",
		Short:                 "Runs a proxy in front of a blocking service, without a configuration file",
		Long: `
Runs a proxy as a sidecar in front of a blocking service. Requests that match need a
permit to run, and wait until one is free. Other requests pass untouched. Without
--match all requests match.

The flags are the whole configuration; each stands for one option of a Caddyfile.
--print shows the equivalent Caddyfile, which you can use as a starting point.

--backend names the kind of the service. It sets how many requests may run at once,
whether connections to the service are kept, and what happens when a client leaves.
Other flags override it. With --backend php the service speaks FastCGI: --to is the
address of PHP-FPM, such as unix//run/php/php8.2-fpm.sock, and --root is the folder of
the site. Static files in it are served without a permit.

With --jobs, a client that sends 'Prefer: respond-async' gets a job if the response takes
long: it fetches the result later, also after a restart of the proxy.

The proxy listens only on --from: 127.0.0.1:8080, [::1]:8080, name:8080, 8080 for every
address, or unix//run/offload.sock. It uses plain HTTP unless --from begins with
https://, and serves requests for any host.

The other commands find the admin endpoint of the proxy at the usual address, unless
another server already uses it. If another Caddy runs on this machine, choose a
different address with --admin, and pass it to the other commands with --address.`,
		Example: "  caddy offload run --from :8080 --to 127.0.0.1:8000 --match '/report/*' --backend node",
		Args:    usage.Args(cobra.NoArgs),
		RunE:    func(*cobra.Command, []string) error { return s.run() },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&s.from, "from", "f", "127.0.0.1:8080", "The address to listen on; a port alone is every address")
	flags.StringSliceVarP(&s.to, "to", "t", nil, "The address of the service, or several; a port alone is one of this machine")
	flags.StringSliceVarP(&s.match, "match", "m", nil, "The paths of the blocking routes (default all)")
	flags.StringVarP(&s.backend, "backend", "b", "", "The kind of the service, for defaults of other flags: "+strings.Join(backends.Names(), ", "))
	flags.StringVar(&s.keepalive, "keepalive", "", "How long idle connections to the service are kept, or 'off' (default 2m)")
	flags.StringVar(&s.root, "root", "", "The folder of the site, for --backend php")
	flags.StringVar(&s.admin, "admin", adminAuto, "The address of the admin endpoint, 'off', or 'auto': "+caddy.DefaultAdminListen+", or off if another server has it")
	flags.StringVar(&s.ready, "ready", "", "A path where the proxy itself answers 200 while the service takes connections, and 503 otherwise")
	flags.StringVar(&s.jobs, "jobs", "", "Let requests become durable jobs, which clients find below this path, such as '/jobs/*'")
	flags.StringVar(&s.grace, "grace", "30s", "How long requests may finish after SIGTERM, or 'off'")
	flags.StringVar(&s.delay, "shutdown-delay", "", "How long after SIGTERM requests are still accepted, while --ready answers 503 (default none)")
	flags.BoolVar(&s.log, "access-log", false, "Log each request")
	flags.BoolVar(&s.print, "print", false, "Print the Caddyfile and exit")
	for i := range s.options {
		o := &s.options[i]
		flags.StringVar(&o.value, o.flag(), "", o.usage)
	}
	flags.BoolVar(&s.showQuery, "show-query", false, "Show requests on the admin endpoint with their queries")
	flags.BoolVar(&s.serverTiming, "server-timing", false, "Add Server-Timing fields with the time in the queue")
	flags.BoolVar(&s.requestID, "request-id", false, "Add the request's id to all answers")
	cmd.SetFlagErrorFunc(usage.FlagError)
	flags.StringVar(&s.handleReject, "handle-reject", "", "Directives that answer rejected requests, such as 'respond \"busy\" 503'")
	return cmd
}
