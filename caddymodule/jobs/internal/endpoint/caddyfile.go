package endpoint

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
)

// Register registers the module and the directive, once in a process. reports takes the
// reports of upstreams.
func Register(reports *progress.Board) {
	caddy.RegisterModule(Handler{reports: reports})
	// In front of "offload", so that requests about jobs take no permit of a pool: that one
	// is before "invoke", which follows "templates", and may be registered before or after.
	httpcaddyfile.RegisterDirective("offload_jobs", parse)
	httpcaddyfile.RegisterDirectiveOrder("offload_jobs", httpcaddyfile.After, "templates")
}

var options = []string{"prefix", "list", "on_done", "max_wait", "link_lifetime", "link_secret", "max_events", "max_readers", "max_waits"}

// parse reads the directive:
//
//	offload_jobs [<matcher>] {
//		prefix        <path>
//		list          on|off
//		on_done       show|redirect
//		max_wait      <duration>
//		link_lifetime <duration>|off
//		link_secret   <text>
//		max_events    <n>
//		max_readers   <n>
//		max_waits     <n>
//	}
func parse(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	d := h.Dispenser
	d.Next() // directive
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	d.Next() // directive again
	at := *d
	if d.NextArg() {
		return nil, d.Errf("unexpected '%s': offload_jobs takes a matcher only, such as /jobs/*", d.Val())
	}
	handler := new(Handler)
	b := caddyfileblock.New(d)
	if err := b.Each(0, func() error { return handler.option(b) }); err != nil {
		return nil, err
	}
	if handler.Prefix == "" {
		handler.Prefix = pathOf(matcher)
	}
	if handler.Prefix == "" {
		return nil, at.Err("offload_jobs without a path: write a matcher such as /jobs/*, or the path as clients see it in the option 'prefix'")
	}
	return h.NewRoute(matcher, handler), nil
}

// pathOf returns the path of a matcher such as /jobs/*, else an empty text.
func pathOf(matcher caddy.ModuleMap) string {
	var paths []string
	if len(matcher) != 1 || json.Unmarshal(matcher["path"], &paths) != nil || len(paths) != 1 {
		return ""
	}
	path, ok := strings.CutSuffix(paths[0], "/*")
	if !ok || checkPrefix(path+"/") != nil {
		return ""
	}
	return path + "/"
}

func (h *Handler) option(b *caddyfileblock.Block) (err error) {
	switch b.Option {
	case "prefix":
		h.Prefix, err = caddyfileblock.Read(b, func(path string) (string, error) { return withSlash(path), checkPrefix(path) })
	case "list":
		var value string
		value, err = b.Choice("on", "off")
		h.List = value == "on"
	case "on_done":
		h.OnDone, err = b.Choice(show, redirect)
	case "max_wait":
		h.MaxWait, err = b.Duration(false)
	case "link_lifetime":
		h.LinkLifetime, err = b.Duration(true)
	case "link_secret":
		h.LinkSecret, err = b.Name()
	case "max_events":
		h.MaxEvents, err = b.Count(optionvalue.AtLeast(1, false))
	case "max_readers":
		h.MaxReaders, err = b.Count(optionvalue.AtLeast(1, false))
	case "max_waits":
		h.MaxWaits, err = b.Count(optionvalue.AtLeast(1, false))
	default:
		return b.D.Errf("unrecognized subdirective '%s' of offload_jobs%s", b.Option, suggest.DidYouMean(": ", b.Option, options))
	}
	return err
}
