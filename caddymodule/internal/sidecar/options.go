package sidecar

import (
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
)

// adminAuto selects the default address of the admin endpoint, or no endpoint if another
// server has that address: on Linux both could listen, and a reload of one would reach the
// other.
const adminAuto = "auto"

// sidecar has the values of the flags of "caddy offload run". It writes a Caddyfile from
// them, and Caddy checks them when it reads that.
type sidecar struct {
	from         string
	to           []string
	match        []string
	backend      string
	keepalive    string
	root         string
	admin        string
	ready        string
	jobs         string
	grace        string
	delay        string
	log          bool
	options      []option
	serverTiming bool
	requestID    bool
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
	inJobs      = "jobs"
	inJobStore  = "job store"
)

// routeAndGlobalOptions are the options that are not settings of a pool.
var routeAndGlobalOptions = []option{
	{of: inDirective, name: "first_byte_timeout", usage: "The longest time until a response begins, or 'off' (default 60s)"},
	{of: inDirective, name: "run_timeout", usage: "The longest time until a response is complete, or 'off' (default off)"},
	{of: inDirective, name: "max_time", usage: "The longest time of a request in all: body, wait, run and resends, or 'off' (default off)"},
	{of: inDirective, name: "deadline", usage: "The time that a client allows: a placeholder such as '{http.request.header.Request-Timeout}' (default none)"},
	{of: inDirective, name: "deadline_header", usage: "The request header field in which the service gets the time that is left for the request, in milliseconds (default none)"},
	{of: inDirective, name: "mode", usage: "Whether decisions are carried out ('enforce'), or only counted while all requests pass ('shadow') (default enforce)"},
	{of: inDirective, name: "on_abandon", usage: "What happens to a run whose client leaves: 'cancel' it, let it 'finish', or 'auto': cancel streams and let other runs go on (default auto)"},
	{of: inDirective, name: "abandon_timeout", usage: "How long an abandoned run may go on, or 'off' (default from the timeouts)"},
	{of: inDirective, name: "resend", usage: "How often a request may be sent to the service again, or 'off' (default 1)"},
	{of: inDirective, name: "request_spool", usage: "How much of a request body is stored before the request gets a permit: '<memory> [<file>]' (larger bodies than both sizes together are rejected with 413), or 'off' to pass bodies on as they arrive (default '256KiB 1GiB')"},
	{of: inDirective, name: "response_spool", usage: "How much of a response is stored for a slow client: '<memory> [<file>]', the sizes in memory and in a file, or 'off' to write to the client directly (default '256KiB 1GiB')"},
	{of: inDirective, name: "unspooled", usage: "Kinds of request bodies that are passed on as they arrive: some of 'grpc connect ndjson incremental upgrade resumable', or 'off'; such requests get half of the permits at most (default all but resumable)"},
	{of: inDirective, name: "stall_timeout", usage: "How long a full spool may block a run, or 'off' (default 60s)"},
	{of: inDirective, name: "upgrades", usage: "Whether an upgraded connection leaves the pool ('pass') or keeps its permit ('hold') (default pass)"},
	{of: inDirective, name: "reject_status", usage: "The status of rejections under overload (default 503)"},
	{of: inDirective, name: "timeout_status", usage: "The status of timeouts (default 504)"},
	{of: inDirective, name: "reject_hold", usage: "The longest delay of a rejection, at most 1s: it spreads clients that would come back together, since Retry-After has whole seconds; or 'off' (default off)"},
	{of: inDirective, name: "proxy_status_name", usage: "The name of this proxy in Proxy-Status fields (default none)"},
	{of: inDirective, name: "class", usage: "The class of the requests: the name of one of --classes, or a placeholder (default the class 'normal', or the first one if there is no 'normal')"},
	{of: inDirective, name: "key", usage: "The key of the matching requests, a placeholder, in place of that of --fair-by; needs --fair-by, --per-key or --queue-per-key (default none)"},
	{of: inDirective, name: "cost", usage: "How many permits a request takes: a number, a placeholder, or 'json <field>/<divisor>': the number in this field of a JSON body, divided and rounded up (default 1)"},
	{of: inJobs, name: "accept", usage: "Which requests may become jobs: those whose client asks for it ('prefer'), or all ('always') (default prefer)"},
	{of: inJobs, name: "wait", usage: "How long a client that agrees to a job waits for the response first, or 'off' (default 2s)"},
	{of: inJobs, name: "keep", usage: "How long a job stays after its end (default 24h)"},
	{of: inJobs, name: "attempts", usage: "How often a job is run at most (default 4)"},
	{of: inJobs, name: "max_body", usage: "The largest request body of a job (default 10MiB)"},
	{of: inJobs, name: "max_result", usage: "The largest result of a job (default 256MiB)"},
	{of: inJobStore, name: "store", usage: "The folder of the jobs (default offload/jobs in Caddy's data folder)"},
	{of: inSpool, name: "dir", usage: "The folder for temporary files"},
	{of: inSpool, name: "memory", usage: "The limit of all bodies together in memory (default 256MiB)"},
	{of: inSpool, name: "disk", usage: "The limit of all bodies together in files (default 8GiB)"},
	{of: inSpool, name: "uploads", usage: "How many request bodies are read at once (default 1000)"},
	{of: inSpool, name: "min_rate", usage: "The least rate of a request body in bytes a second (slower ones are rejected with 408), or 'off' (default 500)"},
	{of: inGlobal, name: "explain", usage: "How many requests that were not served are remembered for 'caddy offload explain', which also lists slow ones; or 'off' for neither (default 1024)"},
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

// flag is the option's name on the command line.
func (o *option) flag() string {
	name := strings.ReplaceAll(o.name, "_", "-")
	switch o.of {
	case inBreaker, inSpool, inJobs:
		return o.of + "-" + name
	case inJobStore:
		return inJobs + "-" + name
	}
	return name
}

// value returns the value of an option of the directive.
func (s *sidecar) value(name string) string {
	for _, o := range s.options {
		if o.of == inDirective && o.name == name {
			return o.value
		}
	}
	return ""
}
