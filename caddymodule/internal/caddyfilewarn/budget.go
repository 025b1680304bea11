package caddyfilewarn

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// Option is a duration of a route, and its line.
type Option struct {
	Name  string
	Value time.Duration
	At    caddyfile.Token
}

func (o Option) String() string {
	return fmt.Sprintf("%s %s (%s:%d)", o.Name, o.Value, o.At.File, o.At.Line)
}

// Budget is a route with the option max_time.
type Budget struct {
	helper  httpcaddyfile.Helper
	pool    string // that it shares, empty for none
	maxTime Option
}

// Check warns of all options that contradict max_time of a route, whose directive is at
// that token. pool is the shared pool that the route names, empty for none, and others are
// the other durations of the route.
func Check(h httpcaddyfile.Helper, at caddyfile.Token, pool string, maxTime Option, others []Option) {
	b := &Budget{h, pool, maxTime}
	for _, o := range others {
		b.neverReached(o.Name, o.Value, fmt.Sprintf("%s:%d", o.At.File, o.At.Line))
	}
	global, sites := blocksOf(at.File)
	for _, site := range sites {
		own := slices.IndexFunc(site, func(l line) bool { return l.file == at.File && l.number == at.Line })
		if own >= 0 {
			b.transports(site, &site[own])
		}
	}
	b.global(global)
}

// neverReached warns of a limit that is longer than max_time.
func (b *Budget) neverReached(name string, d time.Duration, place string) {
	if d > b.maxTime.Value {
		b.warn("%s %s (%s) is above %s and would never be reached: lower it, or leave it out", name, d, place, b.maxTime)
	}
}

// ofTransport lists the timeouts of transports that have no effect if they are longer than
// max_time.
var ofTransport = []string{"dial_timeout", "response_header_timeout", "expect_continue_timeout", "read_timeout", "write_timeout"}

// transports checks the timeouts of each reverse_proxy that may get requests of the route:
// in the same block, with the same matcher or without a matcher on either side.
func (b *Budget) transports(site []line, own *line) {
	for i := range site {
		l := &site[i]
		n := len(l.inside)
		if n < 2 || !slices.Contains(ofTransport, l.words[0]) || l.inside[n-1][0] != "transport" {
			continue
		}
		proxy := l.inside[n-2]
		behind := proxy[0] == "reverse_proxy" || proxy[0] == "php_fastcgi"
		if behind && slices.EqualFunc(l.inside[:n-2], own.inside, slices.Equal) && covers(own.words, proxy) {
			b.neverReached("'"+l.words[0]+"' of the transport,", l.duration(), l.String())
		}
	}
}

// covers reports whether a proxy may get requests of a route.
func covers(route, proxy []string) bool {
	of, to := matcherOf(route), matcherOf(proxy)
	return of == "" || to == "" || of == to
}

// global looks at the global options.
func (b *Budget) global(options []line) {
	for _, l := range options {
		d := l.duration()
		switch {
		case l.words[0] == "max_wait" && l.isIn("offload", "pool") && b.pool != "" && slices.Contains(l.inside[1], b.pool):
			b.neverReached("max_wait of pool '"+b.pool+"',", d, l.String())
		case l.words[0] == "grace_period" && len(l.inside) == 0:
			b.tooShort(d, "grace_period %s (%s) is below %s: an exit cuts requests that have time left; raise 'grace_period', or lower 'max_time'", d, &l)
		case l.words[0] == "write" && l.isIn("servers", "timeouts"):
			b.tooShort(d, "the timeout 'write' %s of the server (%s) is below %s: it closes the connection before the answer; raise 'write', or lower 'max_time'", d, &l)
		}
	}
}

// tooShort warns of a limit that is shorter than max_time.
func (b *Budget) tooShort(d time.Duration, format string, args ...any) {
	if d > 0 && d < b.maxTime.Value {
		b.warn(format, append(args, b.maxTime)...)
	}
}

func (b *Budget) warn(format string, args ...any) {
	warn(b.helper, caddyconfig.Warning{
		File: b.maxTime.At.File, Line: b.maxTime.At.Line, Directive: "offload", Message: fmt.Sprintf(format, args...),
	})
}
