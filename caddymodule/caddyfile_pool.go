package caddymodule

import (
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
)

// poolOptions are the options of a pool except its name.
var poolOptions = append(settings.Pool.Names(), "breaker")

// parse reads the line of the current option, which is one of poolOptions.
func (c *PoolConfig) parse(b *caddyfileblock.Block) (err error) {
	if b.Option == "breaker" {
		c.Breaker, err = parseBreaker(b)
		return err
	}
	return parseSetting(b, settings.Pool, c)
}

// parseSetting reads the value of the current option into the field of config that has
// the option's name in JSON.
func parseSetting(b *caddyfileblock.Block, table settings.Table, config any) error {
	object, err := caddyfileblock.Read(b, func(text string) ([]byte, error) { return table.JSON(b.Option, text) })
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
//		<setting> <value>
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
	if c.FailureRatio == optionvalue.Off && c.ConsecutiveFailures == 0 {
		return nil, outer.At.Err("a breaker without a rule: set failure_ratio or consecutive_failures, or write 'breaker off'")
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
// with the settings of settings.Pool.
func parsePool(d *caddyfile.Dispenser) (name string, c *PoolConfig, err error) {
	if !d.AllArgs(&name) {
		return "", nil, d.Err("wrong argument count: 'pool' takes one name")
	}
	if name == "" || looksLikeMatcher(name) {
		return "", nil, d.Errf("bad pool name '%s': want a name that does not look like a matcher", name)
	}
	c = new(PoolConfig)
	b := caddyfileblock.New(d)
	err = b.Each(d.Nesting(), func() error {
		if !slices.Contains(poolOptions, b.Option) {
			return unrecognized(d, "pool '"+name+"'", poolOptions)
		}
		return c.parse(b)
	})
	return name, c, err
}
