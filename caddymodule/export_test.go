package caddymodule

import (
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/discard"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
)

// References returns how many configurations hold a pool, for tests from outside.
func References(pool string) int {
	n, _ := process.Pools.Named.References(pool)
	return n
}

// Removed returns how many pools that no configuration names have requests in them.
func Removed() int { return len(process.Pools.Removed.List()) }

// Running returns how many permits of a pool are taken.
func Running(pool string) (n int) {
	process.Pools.Named.Range(func(name, p any) bool {
		if name == pool {
			n = p.(*pools.Pool).Snapshot().Running
		}
		return true
	})
	return n
}

// Discarder is that of the process.
func Discarder() *discard.Discarder { return process.Discarder }

// SetDiscarder replaces that of the process. Nothing may be served meanwhile.
func SetDiscarder(d *discard.Discarder) { process.Discarder = d }
