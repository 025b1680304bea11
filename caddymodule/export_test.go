package caddymodule

// References returns how many configurations hold a pool, for tests from outside.
func References(pool string) int {
	n, _ := livePools.References(pool)
	return n
}

// Removed returns how many pools that no configuration names have requests in them.
func Removed() int { return len(removedPools.list()) }

// Running returns how many permits of a pool are taken.
func Running(pool string) (n int) {
	livePools.Range(func(name, p any) bool {
		if name == pool {
			n = p.(*livePool).Snapshot().Running
		}
		return true
	})
	return n
}
