// Package proc reads what a process and its children have used: CPU time and
// resident memory. It watches processes that the bench itself has started and
// works on Linux only; elsewhere every reading is an error.
package proc

import "errors"

// ErrUnsupported is what every reading returns outside Linux.
var ErrUnsupported = errors.New("process figures need Linux")
