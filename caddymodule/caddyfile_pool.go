package caddymodule

import (
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfilesite"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
)

// parse reads the line of the current option, which is one of poolOptions.
func (c *PoolConfig) parse(b *caddyfileblock.Block) (err error) {
	switch b.Option {
	case "breaker":
		c.Breaker, err = parseBreaker(b)
	case "upstream_concurrency":
		err = c.parseUpstreams(b)
	default:
		err = parseSetting(b, settings.Pool, c)
	}
	if err != nil {
		return err
	}
	if err := c.checkHold(); err != nil {
		return b.At.WrapErr(err)
	}
	return nil
}

// parseUpstreams reads
//
//	upstream_concurrency <n>|off {
//		<address> <n>
//	}
func (c *PoolConfig) parseUpstreams(outer *caddyfileblock.Block) error {
	if err := parseSetting(outer, settings.Pool, c); err != nil {
		return err
	}
	limits := c.UpstreamConcurrency
	b := caddyfileblock.New(outer.D)
	return b.Each(outer.D.Nesting(), func() error {
		if limits.Off {
			return b.At.Err("'upstream_concurrency off' takes no block: write a number for each upstream, or leave the block out")
		}
		n, err := b.Count(optionvalue.AtLeast(1, false))
		if err != nil {
			return err
		}
		if limits.Of == nil {
			limits.Of = make(map[string]int)
		}
		limits.Of[b.Option] = n
		return nil
	})
}

// parseSetting reads the value of the current option into a field of config: the one whose
// JSON name is the option's name.
func parseSetting(b *caddyfileblock.Block, table settings.Table, config any) error {
	read := caddyfileblock.Read[[]byte]
	if table.Many(b.Option) {
		read = caddyfileblock.ReadAll[[]byte]
	}
	object, err := read(b, func(text string) ([]byte, error) { return table.JSON(b.Option, text) })
	if err != nil {
		return err
	}
	return json.Unmarshal(object, config)
}

// parseBreaker reads
//
//	breaker off
//
// or
//
//	breaker {
//		<setting> <value>...
//	}
//
// with the settings of settings.Breaker.
func parseBreaker(outer *caddyfileblock.Block) (*BreakerConfig, error) {
	d := outer.D
	c := new(BreakerConfig)
	if d.NextArg() {
		if d.Val() != "off" || d.NextArg() {
			return nil, d.Errf("bad breaker value '%s': want 'off' alone or a block", d.Val())
		}
		c.Off = true
		return c, nil
	}
	b := caddyfileblock.New(d)
	if err := b.Each(d.Nesting(), func() error { return c.parse(b) }); err != nil {
		return nil, err
	}
	if b.Option == "" {
		return nil, outer.At.Err("an empty breaker: leave it out for the default, or write 'breaker off'")
	}
	if c.FailureRatio == optionvalue.Off && c.ConsecutiveFailures == 0 && (c.SlowRatio == nil || c.SlowRatio.Off) {
		return nil, outer.At.Err("a breaker without a rule: set failure_ratio, consecutive_failures or slow_ratio, or write 'breaker off'")
	}
	return c, nil
}

func (c *BreakerConfig) parse(b *caddyfileblock.Block) error {
	if !slices.Contains(settings.Breaker.Names(), b.Option) {
		return unrecognized(b.D, "breaker", settings.Breaker.Names())
	}
	err := parseSetting(b, settings.Breaker, c)
	if c.ConsecutiveFailures == optionvalue.Off {
		c.ConsecutiveFailures = 0 // the default
	}
	return err
}

// parsePool reads the block of a named pool:
//
//	pool <name> {
//		<setting> <value>
//		breaker   off|{ ... }
//	}
//
// with the settings of settings.Pool. Short placeholders are as in a site.
func parsePool(d *caddyfile.Dispenser) (name string, c *PoolConfig, err error) {
	if !d.AllArgs(&name) {
		return "", nil, d.Err("wrong argument count: 'pool' takes one name")
	}
	if name == "" || caddyfilesite.LooksLikeMatcher(name) {
		return "", nil, d.Errf("bad pool name '%s': a name must not be empty or '*', nor begin with '/' or '@', since Caddy reads that as a matcher", name)
	}
	c = new(PoolConfig)
	b := caddyfileblock.New(d)
	err = b.Each(d.Nesting(), func() error {
		if !slices.Contains(poolOptions, b.Option) {
			return unrecognized(d, "pool '"+name+"'", poolOptions)
		}
		return c.parse(b)
	})
	c.FairBy = longPlaceholders(c.FairBy)
	return name, c, err
}

// longPlaceholders replaces short placeholders, such as {client_ip}, by their full names.
// In the blocks of sites, Caddy does that.
func longPlaceholders(text string) string {
	segment := caddyfile.Segment{{Text: text}}
	httpcaddyfile.NewShorthandReplacer().ApplyToSegment(&segment)
	return segment[0].Text
}
