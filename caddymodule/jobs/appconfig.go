package jobs

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// AppConfig has the settings that the jobs of all routes share.
type AppConfig struct {
	// The folder of the store. Default: the folder `offload/jobs` in Caddy's data folder.
	Store string `json:"store,omitempty"`

	// How many jobs of a route may wait. Default: 10,000.
	Queue int `json:"queue,omitempty"`

	// How many bytes of request bodies may wait for a route. Default: 1 GiB.
	QueueBytes int64 `json:"queue_bytes,omitempty"`

	// How many bytes the store may have. -1 is off. Default: 10 GiB.
	MaxBytes int64 `json:"max_bytes,omitempty"`

	// How many bytes must stay free on the disk. -1 is off. Default: a twentieth of
	// the disk, 1 GiB at least.
	MinFree int64 `json:"min_free,omitempty"`

	// The limits of each tenant.
	Tenant *TenantConfig `json:"tenant,omitempty"`

	// Encrypts the stored requests and results.
	Encryption *EncryptionConfig `json:"encryption,omitempty"`
}

// TenantConfig has the limits of each tenant.
type TenantConfig struct {
	// How many jobs of a tenant may wait. Default: 1,000.
	Queue int `json:"queue,omitempty"`
	// How many jobs of a tenant run at once. Default: 32.
	Running int `json:"running,omitempty"`
	// How many bytes of bodies and results are stored for a tenant. Default: 1 GiB.
	Bytes int64 `json:"bytes,omitempty"`
}

// EncryptionConfig has the keys by which the store is encrypted.
type EncryptionConfig struct {
	// The keys. The first one encrypts; the others are for data that was stored with them.
	Keys []KeyConfig `json:"keys"`
}

// KeyConfig is where a key comes from. Exactly one field is set.
type KeyConfig struct {
	// A file with the key.
	File string `json:"file,omitempty"`
	// An environment variable with the key.
	Env string `json:"env,omitempty"`
}

// UnmarshalCaddyfile reads the option of the global option:
//
//	jobs {
//		store       <folder>
//		queue       <n>
//		queue_bytes <size>
//		max_bytes   <size>|off
//		min_free    <size>|off
//		tenant {
//			queue   <n>
//			running <n>
//			bytes   <size>
//		}
//		encryption {
//			key file|env <file or variable> # may be repeated
//		}
//	}
func (c *AppConfig) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // option name
	if d.NextArg() {
		return d.Errf("unexpected '%s': jobs takes a block here, nothing more", d.Val())
	}
	b := caddyfileblock.New(d)
	return b.Each(d.Nesting(), func() error { return c.option(b) })
}

// The options of the blocks.
var (
	appOptions        = []string{"store", "queue", "queue_bytes", "max_bytes", "min_free", "tenant", "encryption"}
	tenantOptions     = []string{"queue", "running", "bytes"}
	encryptionOptions = []string{"key"}
)

func (c *AppConfig) option(b *caddyfileblock.Block) (err error) {
	switch b.Option {
	case "store":
		c.Store, err = b.Name()
	case "queue":
		c.Queue, err = b.Count(optionvalue.AtLeast(1, false))
	case "queue_bytes":
		c.QueueBytes, err = b.Size(false)
	case "max_bytes":
		c.MaxBytes, err = b.Size(true)
	case "min_free":
		c.MinFree, err = b.Size(true)
	case "tenant":
		c.Tenant = new(TenantConfig)
		err = inner(b, c.Tenant.option)
	case "encryption":
		c.Encryption = new(EncryptionConfig)
		at := b.At
		if err = inner(b, c.Encryption.option); err == nil && len(c.Encryption.Keys) == 0 {
			err = at.Err("encryption without a key: write 'key file <file>' or 'key env <variable>' in its block")
		}
	default:
		err = unrecognized(b.D, "jobs", appOptions)
	}
	return err
}

// inner reads the block of an option.
func inner(b *caddyfileblock.Block, option func(*caddyfileblock.Block) error) error {
	if b.D.NextArg() {
		return b.D.Errf("unexpected '%s': '%s' takes a block only", b.D.Val(), b.Option)
	}
	within := caddyfileblock.New(b.D, "key")
	return within.Each(b.D.Nesting(), func() error { return option(within) })
}

func (c *TenantConfig) option(b *caddyfileblock.Block) (err error) {
	switch b.Option {
	case "queue":
		c.Queue, err = b.Count(optionvalue.AtLeast(1, false))
	case "running":
		c.Running, err = b.Count(optionvalue.AtLeast(1, false))
	case "bytes":
		c.Bytes, err = b.Size(false)
	default:
		err = unrecognized(b.D, "tenant", tenantOptions)
	}
	return err
}

func (c *EncryptionConfig) option(b *caddyfileblock.Block) error {
	if b.Option != "key" {
		return unrecognized(b.D, "encryption", encryptionOptions)
	}
	var kind, source string
	if !b.D.AllArgs(&kind, &source) || source == "" {
		return b.At.Errf("wrong argument count: '%s' takes 'file' or 'env', and the file or the variable", b.Option)
	}
	switch kind {
	case "file":
		c.Keys = append(c.Keys, KeyConfig{File: source})
	case "env":
		c.Keys = append(c.Keys, KeyConfig{Env: source})
	default:
		return b.At.Errf("bad key source '%s': want file or env", kind)
	}
	return nil
}

// check returns the errors of a configuration that did not come from a Caddyfile.
func (c *AppConfig) check() error {
	var errs []error
	fail := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fail(c.Queue < 0 || c.QueueBytes < 0, "queue and queue_bytes must not be negative")
	fail(c.MaxBytes < optionvalue.Off || c.MinFree < optionvalue.Off, "max_bytes and min_free must not be negative")
	if t := c.Tenant; t != nil {
		fail(t.Queue < 0 || t.Running < 0 || t.Bytes < 0, "the limits of tenants must not be negative")
	}
	if e := c.Encryption; e != nil {
		fail(len(e.Keys) == 0, "encryption needs a key")
		for _, key := range e.Keys {
			fail((key.File == "") == (key.Env == ""), "a key comes from a file or a variable: set either 'file' or 'env'")
		}
	}
	return errors.Join(errs...)
}

// limits returns the limits of the service.
func (c *AppConfig) limits() jobs.Limits {
	l := jobs.DefaultLimits()
	l.Queue = optionvalue.OrDefault(c.Queue, l.Queue)
	l.QueueBytes = optionvalue.OrDefault(c.QueueBytes, l.QueueBytes)
	if t := c.Tenant; t != nil {
		l.TenantQueue = optionvalue.OrDefault(t.Queue, l.TenantQueue)
		l.TenantRunning = optionvalue.OrDefault(t.Running, l.TenantRunning)
		l.TenantBytes = optionvalue.OrDefault(t.Bytes, l.TenantBytes)
	}
	return l
}
