//go:build !(linux || darwin || freebsd)

package journal

import (
	"errors"
	"os"
	"time"
)

const canLock = false

// ErrLocked: another process has the lock.
var ErrLocked = errors.New("the file is locked")

// Lock leaves it to bbolt.
func Lock(*os.File, time.Duration) error { return nil }

// Unlock leaves it to the system.
func Unlock(*os.File) error { return nil }
