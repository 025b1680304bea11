package jobs

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/owner"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/webhook"
)

// ParseJobs reads the option of a route:
//
//	jobs [<name>] {
//		accept             prefer|always|off
//		wait               <duration>|off
//		longest_wait       <duration>
//		location           <path>
//		detach
//		keep               <duration>
//		keep_dead          <duration>
//		tenant             <placeholder>
//		owner              <placeholder>
//		attempts           <n>
//		attempt_timeout    <duration>|off
//		queue_time         <duration>|off
//		total_time         <duration>|off
//		backoff            <min> [<max>]
//		fail_on            <status>...
//		at_least_once
//		idempotency        on|required|strict|off
//		key_ttl            <duration>
//		max_body           <size>
//		max_result         <size>
//		concurrency        <n>
//		keep_authorization
//		keep_header        <name>...
//		progress_url       <url>
//		webhook            { ... }
//		handle             { <routes> }
//	}
func (r *Route) ParseJobs(h httpcaddyfile.Helper) error {
	d := h.Dispenser
	d.Next() // option name
	at := *d
	if args := d.RemainingArgs(); len(args) > 1 {
		return d.Errf("unexpected '%s': jobs takes a name and a block, nothing more", args[1])
	} else if len(args) == 1 {
		if r.Name = args[0]; r.Name == "" {
			return d.Err("the name of jobs must not be empty")
		}
	}
	p := routeParser{helper: h, config: &r.RouteConfig}
	b := caddyfileblock.New(d)
	if err := b.Each(at.Nesting(), func() error { return p.option(b) }); err != nil {
		return err
	}
	if err := r.contradiction(); err != nil {
		return p.times.WrapErr(err)
	}
	if len(r.Handle) == 0 {
		return at.Err("jobs need 'handle { ... }' with the directives that run them, such as reverse_proxy")
	}
	return nil
}

type routeParser struct {
	helper httpcaddyfile.Helper
	config *RouteConfig
	times  caddyfile.Dispenser // at the last option that can contradict another one
}

// The options of a route, by their subject.
var (
	acceptOptions = []string{
		"accept", "wait", "longest_wait", "location", "detach", "tenant", "owner", "idempotency", "key_ttl", "max_body",
		"keep_authorization", "keep_header",
	}
	runOptions = []string{
		"keep", "keep_dead", "attempts", "attempt_timeout", "queue_time", "total_time", "backoff", "fail_on", "at_least_once",
		"max_result", "concurrency", "progress_url", "webhook", "handle",
	}
)

func (p *routeParser) option(b *caddyfileblock.Block) (err error) {
	switch {
	case slices.Contains(acceptOptions, b.Option):
		err = p.acceptOption(b)
	case slices.Contains(runOptions, b.Option):
		err = p.runOption(b)
	default:
		return unrecognized(b.D, "jobs", slices.Concat(acceptOptions, runOptions))
	}
	if slices.Contains([]string{"wait", "longest_wait", "backoff"}, b.Option) {
		p.times = b.At
	}
	return err
}

func (p *routeParser) acceptOption(b *caddyfileblock.Block) (err error) {
	c := p.config
	switch b.Option {
	case "accept":
		c.Accept, err = b.Choice(acceptValues...)
	case "wait":
		c.Wait, err = b.Duration(true)
	case "longest_wait":
		c.LongestWait, err = b.Duration(false)
	case "location":
		c.Location, err = checked(b, checkLocation)
	case "detach":
		c.Detach, err = true, b.Flag()
	case "tenant":
		c.Tenant, err = checked(b, checkTenant)
	case "owner":
		c.Owner, err = checked(b, owner.Check)
	case "idempotency":
		c.Idempotency, err = b.Choice(keyValues...)
	case "key_ttl":
		c.KeyTTL, err = b.Duration(false)
	case "max_body":
		c.MaxBody, err = b.Size(false)
	case "keep_authorization":
		c.KeepAuthorization, err = true, b.Flag()
	case "keep_header":
		c.KeepHeader, err = keptFields(b)
	}
	return err
}

func (p *routeParser) runOption(b *caddyfileblock.Block) (err error) {
	c := p.config
	switch b.Option {
	case "keep":
		c.Keep, err = b.Duration(false)
	case "keep_dead":
		c.KeepDead, err = b.Duration(false)
	case "attempts":
		c.Attempts, err = b.Count(optionvalue.Counts{Least: 1, Most: maxAttempts})
	case "attempt_timeout":
		c.AttemptTimeout, err = b.Duration(true)
	case "queue_time":
		c.QueueTime, err = b.Duration(true)
	case "total_time":
		c.TotalTime, err = b.Duration(true)
	case "backoff":
		err = p.backoff(b)
	case "fail_on":
		c.FailOn, err = caddyfileblock.ReadAll(b, func(text string) (string, error) { return text, checkFailOn(text) })
	case "at_least_once":
		c.AtLeastOnce, err = true, b.Flag()
	case "max_result":
		c.MaxResult, err = b.Size(false)
	case "concurrency":
		c.Concurrency, err = b.Count(optionvalue.AtLeast(1, false))
	case "progress_url":
		c.ProgressURL, err = checked(b, checkProgressURL)
	case "webhook":
		c.Webhook = new(webhook.Config)
		err = c.Webhook.UnmarshalCaddyfile(b.D)
	case "handle":
		c.Handle, err = p.routes(b)
	}
	return err
}

// checked reads the only value of an option.
func checked(b *caddyfileblock.Block, check func(string) error) (string, error) {
	return caddyfileblock.Read(b, func(text string) (string, error) {
		if text == "" {
			return "", b.At.Errf("the value of '%s' must not be empty", b.Option)
		}
		return text, check(text)
	})
}

func keptFields(b *caddyfileblock.Block) ([]string, error) {
	names, err := b.Texts()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := checkKept(name); err != nil {
			return nil, b.At.WrapErr(err)
		}
	}
	return names, nil
}

// backoff reads one or two durations.
func (p *routeParser) backoff(b *caddyfileblock.Block) error {
	texts := b.D.RemainingArgs()
	if len(texts) < 1 || len(texts) > 2 {
		return b.At.Errf("wrong argument count: '%s' takes the shortest and perhaps the longest time between two attempts", b.Option)
	}
	var err error
	if p.config.MinBackoff, err = optionvalue.ParseDuration(b.Option, texts[0], false); err == nil && len(texts) == 2 {
		p.config.MaxBackoff, err = optionvalue.ParseDuration(b.Option, texts[1], false)
	}
	if err != nil {
		return b.At.WrapErr(err)
	}
	return nil
}

// routes reads the routes that run the jobs.
func (p *routeParser) routes(b *caddyfileblock.Block) (caddyhttp.RouteList, error) {
	if err := b.Flag(); err != nil {
		return nil, err
	}
	handler, err := httpcaddyfile.ParseSegmentAsSubroute(p.helper.WithDispenser(b.D.NewFromNextSegment()))
	if err != nil {
		return nil, b.At.Errf("handle: %w", err)
	}
	routes := handler.(*caddyhttp.Subroute).Routes
	if len(routes) == 0 {
		return nil, b.At.Err("handle without a route: write the directives that run the jobs, such as reverse_proxy")
	}
	return routes, nil
}

// unrecognized rejects the current option of a block that has other options.
func unrecognized(d *caddyfile.Dispenser, block string, options []string) error {
	return d.Errf("unrecognized subdirective '%s' of %s%s", d.Val(), block, suggest.DidYouMean(": ", d.Val(), options))
}
