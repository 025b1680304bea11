package caddymodule

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
)

// poolWords are the words that configure a pool, breakerWords those that
// configure its breaker.
var (
	poolWords    = []string{"concurrency", "queue", "max_wait", "order", "breaker", "linger"}
	breakerWords = []string{
		"failure_ratio", "min_requests", "consecutive_failures", "window", "cool_down", "probes", "probe_timeout",
	}
)

// parse reads the line of the current word if it is one of a pool's.
func (c *PoolConfig) parse(b *caddyfileblock.Block) (err error) {
	switch b.Option {
	case "concurrency":
		c.Concurrency, err = b.Count(optionvalue.AtLeast(1, true))
	case "queue":
		var n int
		n, err = b.Count(optionvalue.AtLeast(0, false))
		c.Queue = &n
	case "max_wait":
		c.MaxWait, err = b.Duration(true)
	case "order":
		c.Order, err = b.Choice("auto", "fifo")
	case "linger":
		c.Linger, err = b.Duration(true)
	case "breaker":
		c.Breaker, err = parseBreaker(b)
	}
	return err
}

// parseBreaker reads
//
//	breaker off
//
// or
//
//	breaker {
//		failure_ratio        <ratio>|off
//		min_requests         <n>
//		consecutive_failures <n>|off
//		window               <duration>
//		cool_down            <duration>
//		probes               <n>
//		probe_timeout        <duration>
//	}
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
	for nesting := d.Nesting(); ; {
		more, err := b.Next(nesting)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		if err := c.parse(b); err != nil {
			return nil, err
		}
	}
	if b.Option == "" {
		return nil, outer.At.Err("an empty breaker: leave it out for the default, or write 'breaker off'")
	}
	if c.FailureRatio == optionvalue.Off && c.ConsecutiveFailures == 0 {
		return nil, outer.At.Err("a breaker without a rule: set failure_ratio or consecutive_failures, or write 'breaker off'")
	}
	return c, nil
}

func (c *BreakerConfig) parse(b *caddyfileblock.Block) (err error) {
	switch b.Option {
	case "failure_ratio":
		c.FailureRatio, err = caddyfileblock.Read(b, func(s string) (float64, error) { return optionvalue.ParseShare(b.Option, s) })
	case "min_requests":
		c.MinRequests, err = b.Count(optionvalue.AtLeast(1, false))
	case "consecutive_failures":
		c.ConsecutiveFailures, err = b.Count(optionvalue.AtLeast(1, true))
		if c.ConsecutiveFailures == optionvalue.Off {
			c.ConsecutiveFailures = 0
		}
	case "window":
		c.Window, err = b.Duration(false)
	case "cool_down":
		c.CoolDown, err = b.Duration(false)
	case "probes":
		c.Probes, err = b.Count(optionvalue.AtLeast(1, false))
	case "probe_timeout":
		c.ProbeTimeout, err = b.Duration(false)
	default:
		err = unrecognized(b.D, "breaker")
	}
	return err
}

// parsePool reads the block of a named pool:
//
//	pool <name> {
//		concurrency <n>|off
//		queue       <n>
//		max_wait    <duration>|off
//		order       auto|fifo
//		linger      <duration>|off
//		breaker     off|{ ... }
//	}
func parsePool(d *caddyfile.Dispenser) (name string, c *PoolConfig, err error) {
	if !d.AllArgs(&name) {
		return "", nil, d.Err("wrong argument count: 'pool' takes one name")
	}
	if name == "" || looksLikeMatcher(name) {
		return "", nil, d.Errf("bad pool name '%s': want one that is not empty and does not look like a matcher", name)
	}
	c = new(PoolConfig)
	b := caddyfileblock.New(d)
	for nesting := d.Nesting(); ; {
		more, err := b.Next(nesting)
		if err != nil || !more {
			return name, c, err
		}
		if !slices.Contains(poolWords, b.Option) {
			return "", nil, unrecognized(d, "pool '"+name+"'")
		}
		if err := c.parse(b); err != nil {
			return "", nil, err
		}
	}
}
