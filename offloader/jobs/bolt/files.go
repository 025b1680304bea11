package bolt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/offloader/internal/diskspace"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// files are the bodies and results that are too large for the database.
type files struct {
	e      *Engine
	folder string

	mu sync.Mutex
	// results are files of attempts whose result is no part of a record yet.
	results map[jobs.ID][]*resultFile

	stop  chan struct{}
	swept sync.WaitGroup
}

const (
	partPattern  = "*.part"
	bodySuffix   = ".body"
	resultSuffix = ".result"
	sealedSuffix = ".sealed" // behind the name of an encrypted file
)

func bodyName(id jobs.ID) string { return id.String() + bodySuffix }

func resultName(id jobs.ID, a attempt) string {
	return fmt.Sprintf("%s.%d.%d%s", id, a.generation, a.number, resultSuffix)
}

func (s *files) path(name string) string { return filepath.Join(s.folder, name) }

// full wraps an error if it says that the disk is full.
func full(err error) error {
	if diskspace.Full(err) {
		return fmt.Errorf("%w: %w", jobs.ErrFull, err)
	}
	return err
}

// remove removes files in both their forms. What stays, for example because a system does not
// remove open files, goes at the next start.
func (s *files) remove(names ...string) {
	for _, name := range names {
		_ = os.Remove(s.path(name))
		_ = os.Remove(s.path(name + sealedSuffix))
	}
}

// open opens a file in the form that it has.
func (s *files) open(name string) (f *os.File, isSealed bool, err error) {
	f, err = os.Open(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(s.path(name + sealedSuffix))
		isSealed = true
	}
	return f, isSealed, err
}

// read opens a file whose content has this size.
func (s *files) read(id jobs.ID, name string, size int64) (jobs.ResultReader, error) {
	f, isSealed, err := s.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.e.damaged(id[:], err)
	}
	if err != nil {
		return nil, err
	}
	var r jobs.ResultReader = plainFile{f, size}
	got := int64(-1)
	if isSealed {
		sealed, err := s.e.keys.NewReader(f)
		if err != nil {
			f.Close()
			return nil, s.e.damaged(id[:], err)
		}
		r, got = sealed, sealed.Size()
	} else if info, err := f.Stat(); err == nil {
		got = info.Size()
	}
	if got != size {
		f.Close()
		return nil, s.e.damaged(id[:], fmt.Errorf("%s has %d bytes: want %d", f.Name(), got, size))
	}
	return r, nil
}

// plainFile is a file with a known size.
type plainFile struct {
	*os.File
	size int64
}

func (f plainFile) Size() int64 { return f.size }

// syncFolder makes names durable.
func (s *files) syncFolder() error { return syncFolder(s.folder) }

func syncFolder(folder string) error {
	if runtime.GOOS == "windows" { // has no such call, and needs none
		return nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(full(f.Sync()), f.Close())
}

// discard removes a body that is not stored.
func (s *files) discard(body jobs.Body) {
	if body.File != "" {
		_ = os.Remove(s.path(filepath.Base(body.File)))
		s.settle(body)
	}
}

// settle counts the body no longer: its record does.
func (s *files) settle(body jobs.Body) {
	if body.File != "" {
		s.e.room.give(body.Size)
	}
}

// adopt gives a body the name of its job.
func (s *files) adopt(body jobs.Body, id jobs.ID) (jobs.Body, error) {
	name := bodyName(id)
	if strings.HasSuffix(body.File, sealedSuffix) {
		name += sealedSuffix
	}
	if _, err := os.Lstat(s.path(name)); err == nil {
		return jobs.Body{}, fmt.Errorf("job %s has a body already: %w", id.Short(), jobs.ErrStale)
	}
	if err := os.Rename(s.path(filepath.Base(body.File)), s.path(name)); err != nil {
		return jobs.Body{}, full(err)
	}
	body.File = name
	return body, nil
}

// hasResult reports whether an attempt has a file.
func (s *files) hasResult(id jobs.ID, a attempt) bool {
	f, _, err := s.open(resultName(id, a))
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// dropResults removes the files of a job's attempts, except that of its result.
func (s *files) dropResults(id jobs.ID, kept attempt) {
	s.mu.Lock()
	dropped := s.results[id]
	delete(s.results, id)
	s.mu.Unlock()
	for _, f := range dropped {
		f.drop()
		if f.attempt != kept {
			s.remove(resultName(id, f.attempt))
		}
	}
}

// fewFiles do not delay the start.
const fewFiles = 1000

// sweep removes files that no record has: those of a crash. None of their names is used
// again, so many are removed while the engine is in use.
func (s *files) sweep() error {
	names, err := readNames(s.folder)
	if err != nil {
		return err
	}
	if len(names) <= fewFiles {
		s.sweepNames(names)
	} else {
		s.swept.Go(func() { s.sweepNames(names) })
	}
	return nil
}

func (s *files) sweepNames(names []string) {
	for _, name := range names {
		select {
		case <-s.stop:
			return
		default:
		}
		if used, err := s.used(name); err == nil && !used {
			_ = os.Remove(s.path(name))
		}
	}
}

func readNames(folder string) ([]string, error) {
	f, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// used reports whether a file from before the start is that of a record. Other files than the
// engine's stay.
func (s *files) used(name string) (used bool, err error) {
	base := strings.TrimSuffix(name, sealedSuffix)
	if ok, _ := filepath.Match(partPattern, base); ok {
		return false, nil
	}
	text, rest, _ := strings.Cut(base, ".")
	id, err := jobs.ParseID(text)
	if err != nil {
		return true, nil
	}
	var isPart bool
	var last attempt
	err = s.e.view(func(tx *bbolt.Tx) error {
		value, _ := find(reader(tx), id[:])
		if value == nil {
			return nil
		}
		h, err := readHead(value)
		if err != nil {
			return err
		}
		isPart = base == resultName(id, h.attempt) && !h.state.Terminal()
		used = isPart || "."+rest == bodySuffix && h.flags&bodyInFile != 0 ||
			base == resultName(id, h.result) && h.flags&resultInFile != 0
		last = h.attempt
		return nil
	})
	if isPart {
		s.keepPart(id, last, name)
	}
	return used, err
}

// keepPart keeps the result of an attempt that a crash has ended, until the next attempt or
// the end of the job.
func (s *files) keepPart(id jobs.ID, a attempt, name string) {
	info, err := os.Stat(s.path(name))
	if err != nil {
		return
	}
	f := &resultFile{e: s.e, attempt: a}
	f.counted.Store(info.Size())
	s.e.room.live.Add(info.Size())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[id] = append(s.results[id], f)
}

func (s *files) stopSweep() {
	s.mu.Lock()
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	s.swept.Wait()
}

// create makes a file, encrypted if there are keys.
func (s *files) create(name string) (*os.File, io.Writer, error) {
	if s.e.keys != nil {
		name += sealedSuffix
	}
	f, err := os.OpenFile(s.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, full(err)
	}
	if s.e.keys == nil {
		return f, f, nil
	}
	w, err := s.e.keys.NewWriter(f)
	if err != nil {
		f.Close()
		_ = os.Remove(f.Name())
		return nil, nil, full(err)
	}
	return f, w, nil
}

// flush makes a file durable.
func flush(f *os.File, w io.Writer) error {
	if sealed, ok := w.(interface{ Flush() error }); ok {
		if err := sealed.Flush(); err != nil {
			return full(err)
		}
	}
	return full(f.Sync())
}

// room decides whether more can be stored.
type room struct {
	e        *Engine
	maxBytes int64        // zero: no bound
	minFree  int64        // zero: as the file system's size says, negative: none
	live     atomic.Int64 // bytes of files that no record has yet

	mu    sync.Mutex
	asked time.Time // when the file system was asked
	short bool      // it had less than minFree
	free  int64
}

// askAgain is how long the answer of the file system counts.
const askAgain = 100 * time.Millisecond

// forAccept returns an error if n more bytes must not be stored. Changes of jobs that are
// stored do not ask: the free part of the disk is for them.
func (r *room) forAccept(n int64) error {
	if r.maxBytes > 0 {
		if used := r.used(); used+n > r.maxBytes {
			return fmt.Errorf("%w: %d of %d bytes are used", jobs.ErrFull, used, r.maxBytes)
		}
	}
	if r.minFree < 0 {
		return nil
	}
	if free, short := r.disk(); short {
		return fmt.Errorf("%w: the disk of %s has %d bytes left", jobs.ErrFull, r.e.folder, free)
	}
	return nil
}

// take counts n bytes of a file before they are written.
func (r *room) take(n int64) error {
	if err := r.forAccept(n); err != nil {
		return err
	}
	r.live.Add(n)
	return nil
}

// give takes bytes off that a record has now, or that are gone.
func (r *room) give(n int64) { r.live.Add(-n) }

// used is the used part of the database, and all files.
func (r *room) used() int64 {
	return r.e.used.Load() + r.e.totals.Load().fileBytes + r.live.Load()
}

// disk asks the file system now and then.
func (r *room) disk() (free int64, short bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.asked.IsZero() || now.Sub(r.asked) > askAgain {
		r.asked = now
		space, err := diskspace.Of(r.e.folder)
		minFree := r.minFree
		if minFree == 0 {
			minFree = max(space.Total/20, 1<<30)
		}
		r.free, r.short = space.Free, err == nil && space.Free < minFree
	}
	return r.free, r.short
}
