package caddymodule

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// parseApp reads the global option:
//
//	offload {
//		pool <name> { ... }
//		spool {
//			dir     <folder>
//			memory  <size>
//			disk    <size>
//			uploads <n>
//		}
//		proxy_status_name <name>
//	}
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // option name
	if existing != nil {
		return nil, d.Err("the offload option is there already: put all of it into one block")
	}
	if d.NextArg() {
		return nil, d.ArgErr()
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
	switch word := d.Val(); word {
	case "pool":
		return a.parsePool(d)
	case "spool":
		if a.Spool != nil {
			return d.Err("'spool' is set twice")
		}
		a.Spool = new(SpoolConfig)
		return a.Spool.parse(d)
	case "proxy_status_name":
		b := &block{d: d, word: word}
		name, err := parseStatusName(b)
		if a.ProxyStatusName != "" {
			return d.Errf("'%s' is set twice", word)
		}
		a.ProxyStatusName = name
		return err
	default:
		return d.Errf("unrecognized offload option '%s'", word)
	}
}

func (a *App) parsePool(d *caddyfile.Dispenser) error {
	name, config, err := parsePool(d)
	if err != nil {
		return err
	}
	if a.Pools[name] != nil {
		return d.Errf("pool '%s' is defined twice", name)
	}
	if a.Pools == nil {
		a.Pools = make(map[string]*PoolConfig)
	}
	a.Pools[name] = config
	return nil
}

func (c *SpoolConfig) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	b := &block{d: d}
	for nesting := d.Nesting(); ; {
		more, err := b.next(nesting)
		if err != nil || !more {
			return err
		}
		switch b.word {
		case "dir":
			c.Dir, err = b.text()
		case "memory":
			c.Memory, err = b.oneSize()
		case "disk":
			c.Disk, err = b.oneSize()
		case "uploads":
			c.Uploads, err = b.count(1, false)
		default:
			err = d.Errf("unrecognized subdirective '%s' of spool", b.word)
		}
		if err != nil {
			return err
		}
	}
}

// parseStatusName reads the name that Proxy-Status fields begin with.
func parseStatusName(b *block) (string, error) {
	name, err := b.text()
	if err == nil && (name == "" || !validStatusName(name)) {
		return "", b.d.Errf("bad %s value '%s': want a token or string of RFC 9651", b.word, name)
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
