//go:build !unix

package site

// runProcess does nothing: this system starts no Caddy as a process.
func runProcess() {}

// RepeatTermination does nothing: there is no SIGTERM.
func RepeatTermination() {}
