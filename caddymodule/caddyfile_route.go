package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
)

// routeOptions are the options of a route.
var routeOptions = []string{
	"run_timeout", "first_byte_timeout", "on_abandon", "request_spool", "response_spool", "unspooled", "stall_timeout",
	"abandon_timeout", "resend", "upgrades", "reject_status", "handle_reject", "proxy_status_name", "server_timing",
}

// parseHandler reads the directive:
//
//	offload [<matcher>] [<pool>] {
//		name               <name>
//		<options of a pool, without <pool>>
//		run_timeout        <duration>|off
//		first_byte_timeout <duration>|off
//		on_abandon         auto|finish|cancel
//		abandon_timeout    <duration>|off
//		resend             <n>|off
//		request_spool      <memory> [<file>]|off
//		response_spool     <memory> [<file>]|off
//		unspooled          <kind>...|off
//		stall_timeout      <duration>|off
//		upgrades           pass|hold
//		reject_status      <code>
//		handle_reject      { <routes> }
//		proxy_status_name  <name>
//		server_timing
//	}
func parseHandler(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	matcher := peekMatcher(h)
	matcherSet, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, h.WrapErr(err)
	}
	p := routeParser{helper: h, handler: new(Handler)}
	if err := p.parse(); err != nil {
		return nil, err
	}
	p.name(matcher)
	return h.NewRoute(matcherSet, p.handler), nil
}

// peekMatcher returns the text of the matcher, which becomes a part of the name of a pool
// without a configured name.
func peekMatcher(h httpcaddyfile.Helper) string {
	defer func() {
		h.Reset()
		h.Next()
	}()
	if h.NextArg() && looksLikeMatcher(h.Val()) {
		return h.Val()
	}
	return ""
}

// looksLikeMatcher reports whether Caddy reads an argument as a matcher.
func looksLikeMatcher(arg string) bool {
	return arg == "*" || strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "@")
}

// looksLikePath reports whether an argument in place of a pool is a pattern of paths.
func looksLikePath(arg string) bool {
	return strings.ContainsAny(arg, "*/") || strings.HasPrefix(arg, ".")
}

// pathOf returns the pattern of paths that was probably meant.
func pathOf(arg string) string {
	switch arg[0] {
	case '*':
		return arg
	case '.':
		return "*" + arg
	}
	return "/" + arg
}

type routeParser struct {
	helper  httpcaddyfile.Helper
	handler *Handler
	app     *App // the global option
}

func (p *routeParser) parse() (err error) {
	if p.app, err = appOf(p.helper); err != nil {
		return err
	}
	d := p.helper.Dispenser
	d.Next() // directive
	if d.NextArg() {
		if err := p.pool(d.Val()); err != nil {
			return err
		}
		if d.NextArg() {
			return d.Errf("unexpected '%s': offload takes a matcher and the name of a pool, nothing more", d.Val())
		}
	}
	b := caddyfileblock.New(d)
	return b.Each(0, func() error {
		if err := p.option(b); err != nil {
			return err
		}
		return p.contradictions(b)
	})
}

// pool sets the pool that the route names, which must be defined.
func (p *routeParser) pool(name string) error {
	switch {
	case p.app.Pools[name] != nil:
		p.handler.Pool = name
		return nil
	case namesOf(p.helper)[name]:
		return p.helper.Errf("pool '%s' belongs to another route: to share it, define it in the global option, as in 'offload { pool %s { ... } }'",
			name, name)
	case strings.HasSuffix(name, ".php"):
		return p.helper.Errf("'%s' is neither a pool nor an inline matcher, and would not include pretty URLs: write '@dynamic {', 'not {', 'file', 'not path *.php', '}', '}' on separate lines, and then 'offload @dynamic'",
			name)
	case looksLikePath(name):
		return p.helper.Errf("'%s' is neither a pool nor an inline matcher, which begins with '/' or is '*': define a named one, as in '@blocking path %s', and write 'offload @blocking'",
			name, pathOf(name))
	}
	known := slices.Collect(maps.Keys(p.app.Pools))
	return p.helper.Errf("unknown pool '%s': define it in the global option, as in 'offload { pool %s { ... } }'%s%s",
		name, name, suggest.KnownPools(known), suggest.DidYouMean("; ", name, known))
}

func (p *routeParser) option(b *caddyfileblock.Block) error {
	switch {
	case slices.Contains(poolOptions, b.Option) || b.Option == "name":
		if p.handler.Pool != "" {
			return b.D.Errf("'%s' is an option of pools: write it where pool '%s' is defined", b.Option, p.handler.Pool)
		}
		if b.Option == "name" {
			return p.ownName(b)
		}
		return p.handler.PoolConfig.parse(b)
	case slices.Contains(routeOptions, b.Option):
		return p.routeOption(b)
	}
	return unrecognized(b.D, "offload", slices.Concat(poolOptions, routeOptions, []string{"name"}))
}

func (p *routeParser) ownName(b *caddyfileblock.Block) error {
	name, err := b.Text()
	if err != nil {
		return err
	}
	if name == "" {
		return b.D.Err("the name of a pool must not be empty")
	}
	names := namesOf(p.helper)
	if p.app.Pools[name] != nil || names[name] {
		return b.D.Errf("pool '%s' is defined twice: choose another name, or define it once in the global option and write its name after 'offload'", name)
	}
	names[name] = true
	p.handler.Name = name
	return nil
}

func (p *routeParser) routeOption(b *caddyfileblock.Block) (err error) {
	h := p.handler
	switch b.Option {
	case "run_timeout":
		h.RunTimeout, err = b.Duration(true)
	case "first_byte_timeout":
		h.FirstByteTimeout, err = b.Duration(true)
	case "on_abandon":
		h.OnAbandon, err = b.Choice("auto", "finish", "cancel")
	case "abandon_timeout":
		h.AbandonTimeout, err = b.Duration(true)
	case "resend":
		h.Resend, err = b.Count(optionvalue.Counts{Least: 1, Most: maxResends, MayBeOff: true})
	case "request_spool":
		h.RequestSpool, err = bounds(b)
	case "response_spool":
		h.ResponseSpool, err = bounds(b)
	case "unspooled":
		h.Unspooled, err = unspooled(b)
	case "stall_timeout":
		h.StallTimeout, err = b.Duration(true)
	case "upgrades":
		h.Upgrades, err = b.Choice("pass", "hold")
	case "reject_status":
		h.RejectStatus, err = b.ErrorStatus()
	case "handle_reject":
		h.HandleReject, err = p.rejectRoutes(b)
	case "proxy_status_name":
		h.ProxyStatusName, err = parseStatusName(b)
	case "server_timing":
		h.ServerTiming, err = true, b.Flag()
	}
	return err
}

func unspooled(b *caddyfileblock.Block) ([]string, error) {
	list, err := b.Texts()
	if err != nil {
		return nil, err
	}
	if _, err := requestbody.ParseKinds(list); err != nil {
		return nil, b.At.WrapErr(err)
	}
	return list, nil
}

func (p *routeParser) rejectRoutes(b *caddyfileblock.Block) (caddyhttp.RouteList, error) {
	if err := b.Flag(); err != nil {
		return nil, err
	}
	handler, err := httpcaddyfile.ParseSegmentAsSubroute(p.helper.WithDispenser(b.D.NewFromNextSegment()))
	if err != nil {
		return nil, b.At.Errf("handle_reject: %w", err)
	}
	routes := handler.(*caddyhttp.Subroute).Routes
	if len(routes) == 0 {
		return nil, b.At.Err("handle_reject without a route: write the directives that answer rejected requests, or leave it out")
	}
	return routes, nil
}

// contradictions rejects two options that contradict each other, at the line of the later
// one.
func (p *routeParser) contradictions(b *caddyfileblock.Block) error {
	h := p.handler
	if h.RunTimeout > 0 && h.FirstByteTimeout > h.RunTimeout {
		return b.At.Errf("first_byte_timeout %s is above run_timeout %s and would never end a run: lower it, or leave it out",
			time.Duration(h.FirstByteTimeout), time.Duration(h.RunTimeout))
	}
	breaker, owner := h.Breaker, ""
	if h.Pool != "" {
		breaker, owner = p.app.Pools[h.Pool].Breaker, "pool '"+h.Pool+"': "
	}
	if err := checkWindow(breaker, h.FirstByteTimeout, h.RunTimeout); err != nil {
		return b.At.Errf("%s%w", owner, err)
	}
	return nil
}

// name names the route's own pool if the Caddyfile does not. The name stays the same
// across reloads: site, matcher, and a number if that is taken.
func (p *routeParser) name(matcher string) {
	h := p.handler
	if h.Pool != "" || h.Name != "" {
		return
	}
	names := namesOf(p.helper)
	base := strings.TrimSpace(siteAddress(p.helper) + " " + matcher)
	h.Name = base
	for n := 2; names[h.Name] || p.app.Pools[h.Name] != nil; n++ {
		h.Name = fmt.Sprintf("%s #%d", base, n)
	}
	names[h.Name] = true
}

// namesOf returns the names of routes' own pools that have been read of this Caddyfile.
func namesOf(h httpcaddyfile.Helper) map[string]bool {
	const key = "offload.names"
	names, ok := h.State[key].(map[string]bool)
	if !ok {
		names = make(map[string]bool)
		h.State[key] = names
	}
	return names
}
