//go:build !unix

package site

// runProcess does nothing: nothing is started as a process here.
func runProcess() {}
