//go:build race

package testkit

// Race says that the race detector is on. It is slow with thousands of
// goroutines, and now and then fails itself.
const Race = true
