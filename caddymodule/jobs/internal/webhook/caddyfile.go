package webhook

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
)

// UnmarshalCaddyfile reads the block behind the option webhook, where d stands:
//
//	webhook {
//		url            <url>
//		from_header    <field>
//		allow_host     <host>...
//		allow_port     <port>...
//		allow_private  <network>...
//		allow_http
//		secret         <name> env|file <variable or file>
//		with_result
//	}
func (c *Config) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	at := *d
	if d.NextArg() {
		return d.Errf("unexpected '%s': webhook takes a block, nothing more", d.Val())
	}
	b := caddyfileblock.New(d, "allow_host", "allow_port", "allow_private", "secret")
	if err := b.Each(d.Nesting(), func() error { return c.option(b) }); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return at.Errf("webhook: %w", err)
	}
	return nil
}

func (c *Config) option(b *caddyfileblock.Block) (err error) {
	var more []string
	switch b.Option {
	case "url":
		c.URL, err = b.Name()
	case "from_header":
		c.FromHeader, err = b.Name()
	case "allow_host":
		more, err = b.Texts()
		c.AllowHost = append(c.AllowHost, more...)
	case "allow_port":
		err = c.readPorts(b)
	case "allow_private":
		more, err = b.Texts()
		c.AllowPrivate = append(c.AllowPrivate, more...)
	case "allow_http":
		c.AllowHTTP, err = true, b.Flag()
	case "secret":
		err = c.readSecret(b)
	case "with_result":
		c.WithResult, err = true, b.Flag()
	default:
		err = b.D.Errf("unrecognized subdirective '%s' of webhook", b.Option)
	}
	return err
}

func (c *Config) readPorts(b *caddyfileblock.Block) error {
	all, err := b.Texts()
	if err != nil {
		return err
	}
	for _, text := range all {
		port, err := strconv.Atoi(text)
		if err != nil {
			return b.At.Errf("bad %s value '%s': want a number from 1 to 65535", b.Option, text)
		}
		c.AllowPort = append(c.AllowPort, port)
	}
	return nil
}

func (c *Config) readSecret(b *caddyfileblock.Block) error {
	var s Secret
	var kind, source string
	if !b.D.AllArgs(&s.Name, &kind, &source) {
		return b.At.Errf("wrong argument count: '%s' takes a name, 'env' or 'file', and the variable or file", b.Option)
	}
	switch kind {
	case "env":
		s.Env = source
	case "file":
		s.File = source
	default:
		return b.At.Errf("bad secret source '%s': want env or file", kind)
	}
	c.Secrets = append(c.Secrets, s)
	return nil
}
