package caddymodule

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
)

// bounds reads the size in memory and, optionally, the size of the file.
func bounds(b *caddyfileblock.Block) (*SpoolBounds, error) {
	if !b.D.NextArg() {
		return nil, boundsCount(b)
	}
	var s SpoolBounds
	var err error
	if b.D.Val() == "off" {
		s.Off = true
	} else if s.Memory, err = size(b); err != nil {
		return nil, err
	} else if b.D.NextArg() {
		if s.File, err = size(b); err != nil {
			return nil, err
		}
	}
	if b.D.NextArg() {
		return nil, boundsCount(b)
	}
	if !s.Off && s.Memory+s.File <= 0 {
		return nil, b.D.Errf("bad %s: nothing would fit; write 'off' to spool nothing", b.Option)
	}
	return &s, nil
}

// size reads the current argument as a number of bytes.
func size(b *caddyfileblock.Block) (int64, error) {
	n, err := optionvalue.ParseSize(b.Option, b.D.Val())
	if err != nil {
		return 0, b.D.WrapErr(err)
	}
	return n, nil
}

func boundsCount(b *caddyfileblock.Block) error {
	return b.At.Errf("wrong argument count: '%s' takes a size in memory and optionally one in a file, or 'off' alone", b.Option)
}

// unrecognized rejects the current option of a block that has other options. It names
// the block that the option belongs to, or the option that was probably meant.
func unrecognized(d *caddyfile.Dispenser, block string, options []string) error {
	option, hint := d.Val(), ""
	for _, home := range []struct {
		options []string
		text    string
	}{
		{poolOptions, ": it belongs to the block of a pool"},
		{settings.Breaker.Names(), ": it belongs to the block of 'breaker'"},
		{slices.Concat(routeOptions, []string{"name"}), ": it belongs to the block of an 'offload' directive"},
		{spoolOptions, ": it belongs to the block of 'spool' in the global option 'offload'"},
		{appOptions, ": it belongs to the global option 'offload'"},
	} {
		if slices.Contains(home.options, option) {
			hint = home.text
		}
	}
	if hint == "" {
		hint = suggest.DidYouMean(": ", option, options)
	}
	return d.Errf("unrecognized subdirective '%s' of %s%s", option, block, hint)
}
