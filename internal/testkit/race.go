//go:build race

package testkit

// Race means that the race detector is on. It is slow with thousands of
// goroutines, and fails itself now and then.
const Race = true
