//go:build !unix

package site

import "testing"

// reserve returns an address of this machine for a site.
func reserve(t testing.TB) string {
	t.Helper()
	return FreeAddr(t)
}
