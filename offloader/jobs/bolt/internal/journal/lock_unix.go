//go:build linux || darwin || freebsd

package journal

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const canLock = true

// ErrLocked: another process has the lock.
var ErrLocked = errors.New("the file is locked")

// Lock waits for the lock that bbolt takes too: on the same file that is no conflict.
func Lock(f *os.File, patience time.Duration) error {
	const again = 50 * time.Millisecond
	for waited := time.Duration(0); ; waited += again {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case !errors.Is(err, unix.EWOULDBLOCK):
			return err
		case waited >= patience:
			return ErrLocked
		}
		time.Sleep(again)
	}
}

// Unlock gives the lock back. Closing the file does not as long as bbolt has mapped it.
func Unlock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }
