//go:build integration

package crashtest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// volume is a small file system, which only root can mount.
type volume struct {
	*testing.T
	mounted string   // folder
	options []string // of mount
}

// newImage returns an ext4 file system in a file.
func newImage(t *testing.T, size int64) *volume {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", "-F", "-m", "0", image)
	return newVolume(t, "-t", "ext4", "-o", "loop", image)
}

// newMemory returns a file system in memory.
func newMemory(t *testing.T, size int64) *volume {
	t.Helper()
	return newVolume(t, "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size), "none")
}

func newVolume(t *testing.T, options ...string) *volume {
	t.Helper()
	v := &volume{T: t, mounted: t.TempDir(), options: options}
	v.mount()
	t.Cleanup(v.unmount)
	return v
}

// mount mounts the file system. Its loop device is gone when it is unmounted.
func (v *volume) mount() {
	v.Helper()
	run(v.T, "mount", append(v.options, v.mounted)...)
}

func (v *volume) unmount() {
	v.Helper()
	run(v.T, "umount", v.mounted)
}

// cut ends the file system as a power cut would: its journal is not written, and each call
// fails from now on.
func (v *volume) cut() {
	v.Helper()
	const (
		shutdown     = 0x8004587d // EXT4_IOC_SHUTDOWN
		withoutFlush = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
	)
	folder, err := os.Open(v.mounted)
	if err != nil {
		v.Fatal(err)
	}
	defer folder.Close()
	if err := unix.IoctlSetPointerInt(int(folder.Fd()), shutdown, withoutFlush); err != nil {
		v.Fatal(err)
	}
}

// scatter writes about half of the pages of files to the disk, as a machine may do at any time and
// in any order.
func (v *volume) scatter(folder string) {
	v.Helper()
	const page = 4096
	for _, name := range files(v.T, folder) {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) { // it was removed meanwhile
			continue
		}
		if err != nil {
			v.Fatal(err)
		}
		info, err := f.Stat()
		for off := int64(0); err == nil && off < info.Size(); {
			n := page * (1 + rand.Int64N(8))
			if rand.IntN(2) == 0 {
				err = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
			}
			off += n
		}
		f.Close()
		if err != nil {
			v.Fatal(err)
		}
	}
}

func run(t *testing.T, name string, arguments ...string) {
	t.Helper()
	if out, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, arguments, err, out)
	}
}
