//go:build linux || darwin || freebsd

package diskspace

import "golang.org/x/sys/unix"

var fullErrors = []error{unix.ENOSPC, unix.EDQUOT, unix.EFBIG}

// Of returns the room of the file system of a folder.
func Of(folder string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return Space{}, err
	}
	block := int64(s.Bsize)
	return Space{Free: int64(s.Bavail) * block, Total: int64(s.Blocks) * block}, nil
}
