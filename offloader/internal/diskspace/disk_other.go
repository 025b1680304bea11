//go:build !(linux || darwin || freebsd || windows)

package diskspace

import (
	"errors"
	"syscall"
)

var fullErrors = []error{syscall.ENOSPC}

// Of cannot find the room on this system.
func Of(string) (Space, error) { return Space{}, errors.ErrUnsupported }
