package caddymodule

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
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
func (c *PoolConfig) parse(b *block) (err error) {
	switch b.word {
	case "concurrency":
		c.Concurrency, err = b.count(1, true)
	case "queue":
		var n int
		n, err = b.count(0, false)
		c.Queue = &n
	case "max_wait":
		c.MaxWait, err = b.duration(true)
	case "order":
		c.Order, err = b.choice("auto", "fifo")
	case "linger":
		c.Linger, err = b.duration(true)
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
func parseBreaker(outer *block) (*BreakerConfig, error) {
	d := outer.d
	c := new(BreakerConfig)
	if d.NextArg() {
		if d.Val() != "off" || d.NextArg() {
			return nil, d.Errf("bad breaker value '%s': want 'off' alone or a block", d.Val())
		}
		c.Off = true
		return c, nil
	}
	b := &block{d: d}
	for nesting := d.Nesting(); ; {
		more, err := b.next(nesting)
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
	if len(b.seen) == 0 {
		return nil, outer.at.Err("an empty breaker: leave it out for the default, or write 'breaker off'")
	}
	if c.FailureRatio == off && c.ConsecutiveFailures == 0 {
		return nil, outer.at.Err("a breaker without a rule: set failure_ratio or consecutive_failures, or write 'breaker off'")
	}
	return c, nil
}

func (c *BreakerConfig) parse(b *block) (err error) {
	switch b.word {
	case "failure_ratio":
		c.FailureRatio, err = b.ratio()
	case "min_requests":
		c.MinRequests, err = b.count(1, false)
	case "consecutive_failures":
		c.ConsecutiveFailures, err = b.count(1, true)
		if c.ConsecutiveFailures == off {
			c.ConsecutiveFailures = 0
		}
	case "window":
		c.Window, err = b.duration(false)
	case "cool_down":
		c.CoolDown, err = b.duration(false)
	case "probes":
		c.Probes, err = b.count(1, false)
	case "probe_timeout":
		c.ProbeTimeout, err = b.duration(false)
	default:
		err = unrecognized(b.d, "breaker")
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
	b := &block{d: d}
	for nesting := d.Nesting(); ; {
		more, err := b.next(nesting)
		if err != nil || !more {
			return name, c, err
		}
		if !slices.Contains(poolWords, b.word) {
			return "", nil, unrecognized(d, "pool '"+name+"'")
		}
		if err := c.parse(b); err != nil {
			return "", nil, err
		}
	}
}
