package caddymodule

import "github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"

// References returns how many configurations hold a pool, for tests from outside.
func References(pool string) int {
	n, _ := pools.Table.References(pool)
	return n
}

// Removed returns how many pools that no configuration names have requests in them.
func Removed() int { return len(pools.Removed.List()) }

// Running returns how many permits of a pool are taken.
func Running(pool string) (n int) {
	pools.Table.Range(func(name, p any) bool {
		if name == pool {
			n = p.(*pools.Pool).Snapshot().Running
		}
		return true
	})
	return n
}
