package caddymodule

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobroute"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
)

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
//		jobs { <options of the plugin> }
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // option name
	if existing != nil {
		return nil, d.Err("the option is given twice: use one block")
	}
	if d.NextArg() {
		return nil, d.Errf("unexpected '%s': the global option 'offload' takes a block only; define pools in it", d.Val())
	}
	app := new(App)
	b := caddyfileblock.New(d, "pool")
	if err := b.Each(0, func() error { return app.parse(b) }); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "offload", Value: caddyconfig.JSON(app, nil)}, nil
}

func (a *App) parse(b *caddyfileblock.Block) (err error) {
	switch b.Option {
	case "pool":
		err = a.parsePool(b.D)
	case "spool":
		a.Spool = new(SpoolConfig)
		err = a.Spool.parse(b.D)
	case "proxy_status_name":
		a.ProxyStatusName, err = parseStatusName(b)
	case "explain":
		a.Explain, err = b.Count(optionvalue.Counts{Least: 1, Most: requests.MaxExplain, MayBeOff: true})
	case "show_query":
		a.ShowQuery, err = true, b.Flag()
	case "jobs":
		a.Jobs, err = jobroute.ParseApp(b)
	default:
		err = unrecognized(b.D, "the option", appOptions)
	}
	return err
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
	return b.Each(d.Nesting(), func() (err error) {
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
		return err
	})
}

// parseStatusName reads the name of this proxy for the field Proxy-Status.
func parseStatusName(b *caddyfileblock.Block) (string, error) {
	name, err := b.Text()
	if err == nil && (name == "" || !answers.ValidProxyName(name)) {
		return "", b.D.Errf("bad %s value '%s': want printable ASCII", b.Option, name)
	}
	return name, err
}

// appOf returns the parsed global option, or an empty one.
func appOf(h httpcaddyfile.Helper) (*App, error) {
	app := new(App)
	option, ok := h.Option("offload").(httpcaddyfile.App)
	if !ok {
		return app, nil
	}
	return app, json.Unmarshal(option.Value, app)
}
