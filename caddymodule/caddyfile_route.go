package caddymodule

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfilesite"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfilewarn"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/claims"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
)

// parseHandler reads the directive:
//
//	offload [<matcher>] [<pool>] {
//		name               <name>
//		<options of a pool, without <pool>>
//		run_timeout        <duration>|off
//		first_byte_timeout <duration>|off
//		max_time           <duration>|off
//		deadline           <placeholder>
//		deadline_header    <name>
//		mode               enforce|shadow
//		on_abandon         auto|finish|cancel
//		abandon_timeout    <duration>|off
//		resend             <n>|off
//		request_spool      <memory> [<file>]|off
//		response_spool     <memory> [<file>]|off
//		unspooled          <kind>...|off
//		stall_timeout      <duration>|off
//		upgrades           pass|hold
//		reject_status      <code>
//		timeout_status     <code>
//		reject_hold        <duration>|off
//		handle_reject      { <routes> }
//		jobs               { <options of the plugin> }
//		proxy_status_name  <name>
//		server_timing
//		request_id
//		class              <name>|<placeholder>
//		key                <placeholder>
//		cost               <n>|<placeholder>|json <field>[/<divisor>]
//	}
func parseHandler(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	p := routeParser{helper: h, handler: new(Handler), at: h.Token(), matcher: peekMatcher(h), lines: make(map[string]caddyfile.Token)}
	matcherSet, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, h.WrapErr(err)
	}
	if err := p.parse(); err != nil {
		return nil, err
	}
	if err := p.name(); err != nil {
		return nil, err
	}
	return h.NewRoute(matcherSet, p.handler), nil
}

// peekMatcher returns the text of the matcher, which becomes a part of the name of a pool
// without a configured name.
func peekMatcher(h httpcaddyfile.Helper) string {
	defer func() {
		h.Reset()
		h.Next()
	}()
	if h.NextArg() && caddyfilesite.LooksLikeMatcher(h.Val()) {
		return h.Val()
	}
	return ""
}

type routeParser struct {
	helper  httpcaddyfile.Helper
	handler *Handler
	app     *App                       // the global option
	matcher string                     // its text, empty without one
	at      caddyfile.Token            // the directive
	header  *caddyfile.Dispenser       // at deadline_header, nil without
	lines   map[string]caddyfile.Token // of its options
	claims  claimLines
}

func (p *routeParser) parse() (err error) {
	if p.app, err = appOf(p.helper); err != nil {
		return err
	}
	d := p.helper.Dispenser
	d.Next() // directive
	if args := d.RemainingArgs(); len(args) > 0 {
		if len(args) > 1 || p.app.Pools[args[0]] == nil {
			a := adviser{matcher: p.matcher, pools: p.app.Pools, taken: namesOf(p.helper), hasOption: p.helper.Option("offload") != nil}
			return d.Err(a.advice(args))
		}
		p.handler.Pool = args[0]
	}
	b := caddyfileblock.New(d)
	err = b.Each(0, func() error {
		p.lines[b.Option] = b.At.Token()
		if err := p.option(b); err != nil {
			return err
		}
		return p.contradictions(b)
	})
	if err == nil && p.handler.limitMissing() {
		err = p.header.Err("deadline_header without a limit: there is no rest of the time to put into the field; write 'max_time', 'deadline' or 'run_timeout' too, or leave it out")
	}
	if err == nil {
		err = p.checkClaims()
	}
	if err == nil && p.handler.MaxTime > 0 {
		p.warnOfTimes()
	}
	return err
}

// warnOfTimes warns of timeouts that contradict max_time.
func (p *routeParser) warnOfTimes() {
	h := p.handler
	written := func(name string, d caddy.Duration) caddyfilewarn.Option {
		return caddyfilewarn.Option{Name: name, Value: time.Duration(d), At: p.lines[name]}
	}
	caddyfilewarn.Check(p.helper, p.at, h.Pool, written("max_time", h.MaxTime), []caddyfilewarn.Option{
		written("run_timeout", h.RunTimeout), written("first_byte_timeout", h.FirstByteTimeout), written("max_wait", h.MaxWait),
	})
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
	case "max_time":
		h.MaxTime, err = b.Duration(true)
	case "deadline":
		h.Deadline, err = deadlineText(b)
	case "deadline_header":
		h.DeadlineHeader, err = p.deadlineHeader(b)
	case "mode":
		h.Mode, err = b.Choice(modeEnforce, modeShadow)
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
	case "timeout_status":
		h.TimeoutStatus, err = b.ErrorStatus()
	case "reject_hold":
		h.RejectHold, err = rejectHold(b)
	case "jobs":
		p.handler.Jobs, err = jobroute.ParseRoute(p.helper, b)
	case "handle_reject":
		h.HandleReject, err = p.rejectRoutes(b)
	case "proxy_status_name":
		h.ProxyStatusName, err = parseStatusName(b)
	case "server_timing":
		h.ServerTiming, err = true, b.Flag()
	case "request_id":
		h.RequestID, err = true, b.Flag()
	default:
		err = p.claimOption(b)
	}
	return err
}

func (p *routeParser) deadlineHeader(b *caddyfileblock.Block) (string, error) {
	name, err := b.Name()
	if err != nil {
		return "", err
	}
	if err := deadline.CheckHeader(name); err != nil {
		return "", b.At.WrapErr(err)
	}
	at := b.At
	p.header = &at
	return name, nil
}

func deadlineText(b *caddyfileblock.Block) (string, error) {
	text, err := b.Name()
	if err != nil {
		return "", err
	}
	if err := deadline.Check(text); err != nil {
		return "", b.At.WrapErr(err)
	}
	return text, nil
}

// claimLines holds the lines of the options class, key and cost, by name.
type claimLines map[string]caddyfile.Dispenser

// claimOption reads an option about the class, the key or the cost of requests.
func (p *routeParser) claimOption(b *caddyfileblock.Block) (err error) {
	h, o := p.handler, claims.Options{}
	switch b.Option {
	case "class":
		h.Class, err = b.Name()
		o.Class = h.Class
	case "key":
		h.Key, err = b.Name()
		o.Key = h.Key
	case "cost":
		h.Cost, err = caddyfileblock.ReadAll(b, func(text string) (string, error) { return text, nil })
		o.Cost = h.Cost
	}
	if err != nil {
		return err
	}
	if p.claims == nil {
		p.claims = make(claimLines)
	}
	p.claims[b.Option] = b.At
	if err := claims.Check(o); err != nil {
		return b.At.WrapErr(err)
	}
	return nil
}

// checkClaims rejects a class or a key that the pool of the route does not allow, at the
// line of the option. It runs after the block, since the settings of the pool may follow
// the option.
func (p *routeParser) checkClaims() error {
	config := p.handler.PoolConfig
	if p.handler.Pool != "" {
		config = *p.app.Pools[p.handler.Pool]
	}
	settings, err := config.settings(0)
	if err != nil {
		return nil // reported when the configuration is loaded
	}
	for name, o := range map[string]claims.Options{"class": {Class: p.handler.Class}, "key": {Key: p.handler.Key}} {
		if _, err := claims.New(o, settings); err != nil {
			at := p.claims[name]
			return at.WrapErr(err)
		}
	}
	return nil
}

func rejectHold(b *caddyfileblock.Block) (caddy.Duration, error) {
	d, err := b.Duration(true)
	if err == nil && d > maxRejectHold {
		err = b.At.Errf("reject_hold %s is above 1s: it delays rejections by a part of a second only, so write 1s at most", time.Duration(d))
	}
	return d, err
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
	if err := checkSlow(h.Breaker, h.FirstByteTimeout, h.RunTimeout); err != nil {
		return b.At.WrapErr(err)
	}
	return nil
}

// name sets the name of the route's own pool if the Caddyfile has none. The name is the
// same after a reload: matchers, site, and a number if that name is taken.
func (p *routeParser) name() error {
	base := caddyfilesite.Name(p.helper, p.at, p.matcher)
	if p.handler.Pool == "" && p.handler.Name == "" {
		p.handler.Name = p.freeName(base)
	}
	return p.nameJobs(base)
}

// freeName returns base, with a number if that name is taken.
func (p *routeParser) freeName(base string) string {
	name, names := base, namesOf(p.helper)
	for n := 2; names[name] || p.app.Pools[name] != nil; n++ {
		name = fmt.Sprintf("%s #%d", base, n)
	}
	names[name] = true
	return name
}

// namesOf returns the names of routes' own pools that were read from this Caddyfile so far.
func namesOf(h httpcaddyfile.Helper) map[string]bool {
	const key = "offload.names"
	names, ok := h.State[key].(map[string]bool)
	if !ok {
		names = make(map[string]bool)
		h.State[key] = names
	}
	return names
}

// nameJobs gives the jobs of a route in a named pool a name, unless they have one. Those of a
// route with a separate pool have that pool's name.
func (p *routeParser) nameJobs(base string) error {
	h := p.handler
	if h.Pool == "" || !jobroute.IsSet(h.Jobs) {
		return nil
	}
	name, err := jobroute.NameOf(h.Jobs)
	if err != nil || name != "" {
		return err
	}
	h.Jobs, err = jobroute.WithName(h.Jobs, p.freeName(base))
	return err
}
