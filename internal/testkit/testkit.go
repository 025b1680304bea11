// Package testkit has helpers for the tests of several packages.
package testkit

import "go.uber.org/goleak"

// Tests are the tests of a package, as *testing.M.
type Tests interface{ Run() (code int) }

// Main runs the tests of a package and fails them if a goroutine is left.
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
func Main(m Tests) { goleak.VerifyTestMain(m) }
