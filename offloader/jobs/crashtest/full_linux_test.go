//go:build integration

package crashtest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

// On a full disk jobs are rejected, and those that are stored stay. When there is room again
// all of them end, and jobs are accepted as before.
func TestFullDiskRejectsJobsAndLosesNone(t *testing.T) {
	const size = 32 << 20
	for name, open := range map[string]func(*testing.T, int64) *volume{"ext4": newImage, "tmpfs": newMemory} {
		for reserve, minFree := range map[string]int64{"with": 4 << 20, "without": -1} {
			t.Run(name+" "+reserve+" a reserve", func(t *testing.T) {
				t.Parallel()
				v := open(t, size)
				f := newFullDisk(t, filepath.Join(v.mounted, "store"), minFree)
				f.fill(filepath.Join(v.mounted, "filler"), minFree)
			})
		}
	}
}

// fullDisk is a service on a disk that becomes full.
type fullDisk struct {
	*stage
	*child
}

func newFullDisk(t *testing.T, folder string, minFree int64) *fullDisk {
	t.Helper()
	s := newStage(t, folder)
	s.rejects = true
	j, err := openJournal(s.journal, 1)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := bolt.Open(folder, bolt.Options{MinFree: minFree})
	if err != nil {
		t.Fatal(err)
	}
	service, err := jobs.Open(t.Context(), engine, jobs.Options{Deliver: j.deliver})
	if err != nil {
		t.Fatal(err)
	}
	return &fullDisk{s, &child{journal: j, service: service}}
}

// fill fills the disk, and makes room again.
func (f *fullDisk) fill(filler string, minFree int64) {
	key := 1
	next := func() error {
		key++
		return f.submit(f.Context(), key)
	}
	for range 50 {
		if err := next(); err != nil {
			f.Fatal(err)
		}
	}
	f.takeRoom(filler, max(minFree, 0)+200_000)
	full := 0
	for range 500 {
		if err := next(); errors.Is(err, jobs.ErrFull) {
			full++
		} else if err != nil {
			f.Fatalf("a submission to a full disk: %v", err)
		}
	}
	if full < 100 {
		f.Errorf("a full disk has rejected %d of 500 submissions", full)
	}
	for _, name := range []string{"again", "once"} {
		f.service.Bind(name, &worker{journal: f.child.journal}, jobs.RouteLimits{Concurrency: perRoute})
	}
	testkit.Pause(500 * time.Millisecond) // in which jobs run on a full disk
	if err := os.Remove(filler); err != nil {
		f.Fatal(err)
	}
	testkit.Eventually(f, func() bool { return next() == nil })
	for range 20 {
		if err := next(); err != nil {
			f.Errorf("a submission when there is room again: %v", err)
		}
	}
	if !testkit.Poll(20*time.Second, f.idle) {
		f.Errorf("jobs have not ended: %+v", f.service.Stats())
	}
	if err := f.service.Close(f.Context()); err != nil {
		f.Error(err)
	}
	r := f.check()
	f.Logf("%d accepted, %d stored; %d of 500 rejected while the disk was full, %d results had no room",
		r.accepted, r.stored, full, r.tooLarge)
}

// takeRoom writes a file that leaves so many bytes of the disk free.
func (f *fullDisk) takeRoom(filler string, free int64) {
	f.Helper()
	file, err := os.Create(filler)
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	n := int64(0)
	for p := make([]byte, 64<<10); err == nil; n += int64(len(p)) {
		_, err = file.Write(p)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		f.Fatal(err)
	}
	if err := file.Truncate(max(0, n-64<<10-free)); err != nil {
		f.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		f.Fatal(err)
	}
}
