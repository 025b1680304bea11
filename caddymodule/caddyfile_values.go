package caddymodule

import (
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
)

// appOptions are the options of the global option.
var appOptions = []string{"pool", "spool", "proxy_status_name", "explain", "show_query", "jobs"}

// spoolOptions are the options that bound the spools of the process.
var spoolOptions = []string{"dir", "memory", "disk", "uploads", "min_rate"}

// poolOptions are the options of a pool except its name.
var poolOptions = append(settings.Pool.Names(), "breaker")

// routeOptions are the options of a route.
var routeOptions = []string{
	"run_timeout", "first_byte_timeout", "max_time", "deadline", "deadline_header", "mode", "on_abandon", "request_spool", "response_spool", "unspooled", "stall_timeout",
	"abandon_timeout", "resend", "upgrades", "reject_status", "reject_hold", "timeout_status", "handle_reject", "proxy_status_name", "server_timing",
	"request_id", "class", "key", "cost", "jobs",
}

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
		return nil, b.D.Errf("bad %s: both sizes are zero; set one above zero, or write 'off' to spool nothing", b.Option)
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
