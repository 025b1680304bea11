package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// flush makes written bytes durable, without the time of the change.
func flush(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}
