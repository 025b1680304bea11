//go:build !unix

package site

// runProcess does nothing: this system starts no Caddy as a process.
func runProcess() {}
