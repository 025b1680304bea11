package caddymodule

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
)

// appOptions are the options of the global option.
var appOptions = []string{"pool", "spool", "proxy_status_name", "explain", "show_query"}

// spoolOptions are the options that bound the spools of the process.
var spoolOptions = []string{"dir", "memory", "disk", "uploads", "min_rate"}

// parseApp reads the global option:
//
//	offload {
//		pool <name> { ... }
//		spool {
//			dir      <folder>
//			memory   <size>
//			disk     <size>
//			uploads  <n>
//			min_rate <size>|off
//		}
//		proxy_status_name <name>
//		explain           <n>|off
//		show_query
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // option name
	if existing != nil {
		return nil, d.Err("the option is given twice: put all of it into one block")
	}
	if d.NextArg() {
		return nil, d.Errf("unexpected '%s': the option takes a block only, and pools are defined in it", d.Val())
	}
	app := new(App)
	for d.NextBlock(0) {
		if err := app.parse(d); err != nil {
			return nil, err
		}
	}
	return httpcaddyfile.App{Name: "offload", Value: caddyconfig.JSON(app, nil)}, nil
}

func (a *App) parse(d *caddyfile.Dispenser) error {
	switch option := d.Val(); option {
	case "pool":
		return a.parsePool(d)
	case "spool":
		if a.Spool != nil {
			return d.Err("'spool' is set twice")
		}
		a.Spool = new(SpoolConfig)
		return a.Spool.parse(d)
	case "proxy_status_name":
		b := &caddyfileblock.Block{D: d, Option: option, At: *d}
		name, err := parseStatusName(b)
		if a.ProxyStatusName != "" {
			return d.Errf("'%s' is set twice", option)
		}
		a.ProxyStatusName = name
		return err
	case "explain":
		b := &caddyfileblock.Block{D: d, Option: option, At: *d}
		n, err := b.Count(optionvalue.Counts{Least: 1, Most: requests.MaxExplain, MayBeOff: true})
		if a.Explain != 0 {
			return d.Errf("'%s' is set twice", option)
		}
		a.Explain = n
		return err
	case "show_query":
		b := &caddyfileblock.Block{D: d, Option: option, At: *d}
		if a.ShowQuery {
			return d.Errf("'%s' is set twice", option)
		}
		a.ShowQuery = true
		return b.Flag()
	default:
		return unrecognized(d, "the option", appOptions)
	}
}

func (a *App) parsePool(d *caddyfile.Dispenser) error {
	at := *d
	name, config, err := parsePool(d)
	if err != nil {
		return err
	}
	if a.Pools[name] != nil {
		return at.Errf("pool '%s' is defined twice", name)
	}
	if a.Pools == nil {
		a.Pools = make(map[string]*PoolConfig)
	}
	a.Pools[name] = config
	return nil
}

func (c *SpoolConfig) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("unexpected '%s': 'spool' takes a block only", d.Val())
	}
	b := caddyfileblock.New(d)
	for nesting := d.Nesting(); ; {
		more, err := b.Next(nesting)
		if err != nil || !more {
			return err
		}
		switch b.Option {
		case "dir":
			c.Dir, err = b.Text()
		case "memory":
			c.Memory, err = b.Size(false)
		case "disk":
			c.Disk, err = b.Size(false)
		case "uploads":
			c.Uploads, err = b.Count(optionvalue.AtLeast(1, false))
		case "min_rate":
			c.MinRate, err = b.Size(true)
		default:
			err = unrecognized(d, "spool", spoolOptions)
		}
		if err != nil {
			return err
		}
	}
}

// parseStatusName reads the name that Proxy-Status fields begin with.
func parseStatusName(b *caddyfileblock.Block) (string, error) {
	name, err := b.Text()
	if err == nil && (name == "" || !serving.ValidStatusName(name)) {
		return "", b.D.Errf("bad %s value '%s': want printable ASCII", b.Option, name)
	}
	return name, err
}

// appOf returns the global option as it was parsed, empty if there is none.
func appOf(h httpcaddyfile.Helper) (*App, error) {
	app := new(App)
	option, ok := h.Option("offload").(httpcaddyfile.App)
	if !ok {
		return app, nil
	}
	return app, json.Unmarshal(option.Value, app)
}
