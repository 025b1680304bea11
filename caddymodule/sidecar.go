package caddymodule

import (
	"strings"

	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-offload/caddy-offload/internal/backends"
)

// sidecar is what the flags of "caddy offload run" describe. Its values are
// words of a Caddyfile, which checks them.
type sidecar struct {
	from         string
	to           []string
	match        []string
	backend      string
	keepalive    string
	root         string
	admin        string
	log          bool
	words        []sidecarWord
	serverTiming bool
	showQuery    bool
	handleReject string
	print        bool
}

// sidecarWord is a word of the Caddyfile that has a flag.
type sidecarWord struct {
	of    string // the block that it stands in
	word  string
	usage string
	value string
	why   []string // comments above it, if no flag has set it
}

// Blocks in which a flag's word stands.
const (
	inDirective = ""
	inBreaker   = "breaker"
	inSpool     = "spool"
	inOption    = "option"
)

func newSidecar() *sidecar {
	return &sidecar{words: []sidecarWord{
		{of: inDirective, word: "name", usage: "The pool's name in metrics and commands (default sidecar)"},
		{of: inDirective, word: "concurrency", usage: "How many requests may run at once, or 'off' (default 8)"},
		{of: inDirective, word: "queue", usage: "How many requests may wait (default 100)"},
		{of: inDirective, word: "max_wait", usage: "The longest wait, or 'off' (default 10s)"},
		{of: inDirective, word: "order", usage: "The order of the queue: 'auto' or 'fifo' (default auto)"},
		{of: inDirective, word: "linger", usage: "How long a cancelled run keeps its permit, or 'off' (default off)"},
		{of: inDirective, word: "breaker", usage: "'off' for no breaker"},
		{of: inBreaker, word: "failure_ratio", usage: "The share of failures that trips, or 'off' (default 0.5)"},
		{of: inBreaker, word: "min_requests", usage: "How many results the ratio needs (default 20)"},
		{of: inBreaker, word: "consecutive_failures", usage: "How many failures in a row trip, or 'off' (default off)"},
		{of: inBreaker, word: "window", usage: "The time that the ratio looks back (default from the timeouts)"},
		{of: inBreaker, word: "cool_down", usage: "How long the breaker stays open before it probes (default 10s)"},
		{of: inBreaker, word: "probes", usage: "How many probes run at once (default 1)"},
		{of: inBreaker, word: "probe_timeout", usage: "When a probe counts as failed (default from the timeouts)"},
		{of: inDirective, word: "first_byte_timeout", usage: "The longest time until an answer begins, or 'off' (default 60s)"},
		{of: inDirective, word: "run_timeout", usage: "The longest time until an answer is complete, or 'off' (default off)"},
		{of: inDirective, word: "on_abandon", usage: "What happens when a client leaves: 'auto', 'finish' or 'cancel' (default auto)"},
		{of: inDirective, word: "abandon_timeout", usage: "How long a run may go on that nobody waits for, or 'off' (default from the timeouts)"},
		{of: inDirective, word: "resend", usage: "How often a request may be sent to the service again, or 'off' (default 1)"},
		{of: inDirective, word: "request_spool", usage: "What is kept of a request: '<memory> [<file>]' or 'off' (default '256KiB 1GiB')"},
		{of: inDirective, word: "response_spool", usage: "What is kept of a response: '<memory> [<file>]' or 'off' (default '256KiB 1GiB')"},
		{of: inDirective, word: "unspooled", usage: "Which request bodies are passed on as they come: '<kind> ...' or 'off' (default all but resumable, with half of the permits)"},
		{of: inDirective, word: "stall_timeout", usage: "How long a full spool may block a run, or 'off' (default 60s)"},
		{of: inDirective, word: "upgrades", usage: "The permit of an upgraded connection: 'pass' or 'hold' (default pass)"},
		{of: inDirective, word: "reject_status", usage: "The status when overloaded (default 503)"},
		{of: inDirective, word: "proxy_status_name", usage: "The name of this proxy in Proxy-Status fields (default none)"},
		{of: inSpool, word: "dir", usage: "The folder for temporary files"},
		{of: inSpool, word: "memory", usage: "What all bodies together may take in memory (default 256MiB)"},
		{of: inSpool, word: "disk", usage: "What all bodies together may take in files (default 8GiB)"},
		{of: inSpool, word: "uploads", usage: "How many bodies are taken in at once (default 1000)"},
		{of: inSpool, word: "min_rate", usage: "How many bytes a second a body must bring, or 'off'"},
		{of: inOption, word: "explain", usage: "How many unserved requests are remembered, or 'off' (default 1024)"},
	}}
}

// flag is the word's name on the command line.
func (w *sidecarWord) flag() string {
	name := strings.ReplaceAll(w.word, "_", "-")
	if w.of == inBreaker || w.of == inSpool {
		return w.of + "-" + name
	}
	return name
}

func (s *sidecar) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --from <addr> --to <addr,...> [--match <path,...>] [--concurrency <n>] [--queue <n>]",
		Short: "Runs a proxy in front of a blocking service, without any file",
		Long: `
A proxy in one line, as a sidecar in front of a blocking service. Requests that
match wait for one of its permits; others pass untouched. Without --match all
requests do.

The proxy is configured by the flags alone, one for each word of a Caddyfile.
--print shows the Caddyfile that they stand for, as a start for one of your own.

--backend says what the service is. It sets how many requests may run at once, whether
connections to it are kept, and what a client that leaves means, unless other flags do.
With --backend php the service speaks FastCGI: --to is where PHP-FPM listens, such as
unix//run/php/php8.2-fpm.sock, and --root the folder of the site, whose other files are
served from there without a permit.

It listens where --from says and nowhere else, in plain HTTP unless that begins with
https://, and serves requests for any host: 127.0.0.1:8080, [::1]:8080, name:8080,
8080 for every address, or unix//run/offload.sock.

Its admin endpoint is where the other commands look for it, unless another server
is there already. Beside another Caddy give it an address of its own with --admin,
and the commands the same with --address.`,
		Example: "  caddy offload run --from :8080 --to 127.0.0.1:8000 --match '/report/*' --backend node",
		Args:    cobra.NoArgs,
		RunE:    caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return s.run() }),
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&s.from, "from", "f", "127.0.0.1:8080", "The address to listen on; a port alone is every address")
	flags.StringSliceVarP(&s.to, "to", "t", nil, "The address of the service, or several")
	flags.StringSliceVarP(&s.match, "match", "m", nil, "The paths that block (default all)")
	flags.StringVarP(&s.backend, "backend", "b", "", "The kind of the service, which settles what other flags do not: "+strings.Join(backends.Names(), ", "))
	flags.StringVar(&s.keepalive, "keepalive", "", "How long idle connections to the service are kept, or 'off' (default 2m)")
	flags.StringVar(&s.root, "root", "", "The folder of the site, for --backend php")
	flags.StringVar(&s.admin, "admin", adminAuto, "The address of the admin endpoint, or 'off'")
	flags.BoolVar(&s.log, "access-log", false, "Log each request")
	flags.BoolVar(&s.print, "print", false, "Print the Caddyfile and exit")
	for i := range s.words {
		w := &s.words[i]
		flags.StringVar(&w.value, w.flag(), "", w.usage)
	}
	flags.BoolVar(&s.showQuery, "show-query", false, "Show requests on the admin endpoint with their queries")
	flags.BoolVar(&s.serverTiming, "server-timing", false, "Add Server-Timing fields with the time that requests have waited")
	flags.StringVar(&s.handleReject, "handle-reject", "", "Directives that answer rejected requests, such as 'respond \"busy\" 503'")
	return cmd
}
