// Package proc reads the resources that a process and its children have used:
// CPU time and resident memory. It is for processes that the bench has
// started and works on Linux only; elsewhere every reading is an error.
package proc

import "errors"

// ErrUnsupported is the error of every reading outside Linux.
var ErrUnsupported = errors.New("the CPU time and memory of a process can be read on Linux only")
