package spool

import (
	"os"

	"golang.org/x/sys/unix"
)

// openNameless opens a file that has no name and can get none. Not even a process
// that is killed in this very moment leaves it behind. Nil says that the folder
// has no such files, or has trouble that a file with a name will have too.
func openNameless(dir string) *os.File {
	f, err := os.OpenFile(dir, unix.O_TMPFILE|unix.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil
	}
	return f
}
