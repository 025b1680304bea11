// Package testkit is what the tests of several packages share.
package testkit

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package and fails them if a goroutine is left.
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
func Main(m *testing.M) { goleak.VerifyTestMain(m) }
