package spool

import (
	"os"

	"golang.org/x/sys/unix"
)

// openNameless opens a file that has no name and cannot get one, so that even a process
// that is killed at this moment leaves nothing behind. It returns nil if the folder does
// not support such files, or has a fault that a file with a name will meet too.
func openNameless(dir string) *os.File {
	f, err := os.OpenFile(dir, unix.O_TMPFILE|unix.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil
	}
	return f
}
