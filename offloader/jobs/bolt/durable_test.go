package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

// journalOf returns the journal in a folder, and skips the test on a system without.
func journalOf(t *testing.T, folder string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "jobs.journal"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no journal on this system")
	}
	must(t, err)
	return b
}

// history changes a store at random, and knows what must be stored.
type history struct {
	*testing.T
	e    *bolt.Engine
	jobs map[jobs.ID]*jobs.Record
}

func (h *history) change() {
	for _, r := range h.jobs {
		switch rand.IntN(8) {
		case 0:
			must(h, h.e.Remove(h.Context(), r.ID, r.Rev))
			delete(h.jobs, r.ID)
			return
		case 1, 2:
			if r.State == jobs.Queued {
				succeed(h, h.e, r, rand.IntN(30_000))
				return
			}
		}
	}
	r := accept(h, h.e, rand.IntN(30_000))
	h.jobs[r.ID] = r
}

// holds fails the test if a store has other jobs.
func (h *history) holds(folder string) {
	h.Helper()
	e := open(h, folder, bolt.Options{})
	if e.LastEnd() != jobs.Crashed {
		h.Error("the store was closed")
	}
	for _, r := range h.jobs {
		readable(h, e, r)
	}
	if u, err := e.Usage(h.Context()); err != nil || u.Jobs != int64(len(h.jobs)) {
		h.Errorf("%d jobs are stored, want %d, %v", u.Jobs, len(h.jobs), err)
	}
	must(h, e.Close())
	sound(h, folder)
}

// The pages of a database reach the disk in any order between two checkpoints. Whichever of
// them do, all jobs are there after a power cut.
func TestPowerCutLeavesAnyPages(t *testing.T) {
	folder := t.TempDir()
	h := &history{t, open(t, folder, bolt.Options{}), map[jobs.ID]*jobs.Record{}}
	t.Cleanup(func() { h.e.Close() })
	checkpoints := 0
	for life := range 6 {
		epoch := string(journalOf(t, folder)[:12])
		before, err := os.ReadFile(database(folder))
		must(t, err)
		for n := 0; n < 20 || life%4 == 3; n++ {
			h.change()
			if now := string(journalOf(t, folder)[:12]); now != epoch { // the pages of before are older
				checkpoints++
				break
			}
		}
		if life%4 == 3 {
			continue
		}
		for range 2 {
			cut := image(t, folder)
			must(t, mix(database(cut), before))
			h.holds(cut)
		}
	}
	if checkpoints == 0 {
		t.Error("there was no checkpoint")
	}
}

// mix puts a random part of a file back to what it was.
func mix(name string, before []byte) error {
	file, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	part := rand.Float64()
	for at := 0; at < len(file); at += 4 << 10 {
		if page := file[at : at+4<<10]; rand.Float64() < part {
			clear(page)
			if at < len(before) {
				copy(page, before[at:])
			}
		}
	}
	return os.WriteFile(name, file, 0o600)
}

func TestEntryThatWasCutDoesNotCount(t *testing.T) {
	folder := t.TempDir()
	e := open(t, folder, bolt.Options{})
	first := accept(t, e, 10)
	before := journalOf(t, folder)
	second := accept(t, e, 10)
	after := journalOf(t, folder)
	cut := image(t, folder)
	must(t, e.Close())
	var changed []int
	for i := range after {
		if after[i] != before[i] {
			changed = append(changed, i)
		}
	}
	after[changed[len(changed)/2]] ^= 0xff
	must(t, os.WriteFile(filepath.Join(cut, "jobs.journal"), after, 0o600))

	e = open(t, cut, bolt.Options{})
	readable(t, e, first)
	if _, err := e.Get(t.Context(), second.ID); !errors.Is(err, jobs.ErrUnknown) {
		t.Errorf("the job of a damaged entry: %v", err)
	}
	must(t, e.Close())
	sound(t, cut)
}

func TestJournalOfALaterDatabaseIsNotUsed(t *testing.T) {
	folder := t.TempDir()
	e := open(t, folder, bolt.Options{})
	journalOf(t, folder)
	backup := image(t, folder)
	for range 10 {
		accept(t, e, 0)
	}
	must(t, e.Close())
	e = open(t, folder, bolt.Options{})
	accept(t, e, 0)
	crashed := image(t, folder)
	must(t, e.Close())
	old, err := os.ReadFile(database(backup))
	must(t, err)
	must(t, os.WriteFile(database(crashed), old, 0o600))
	rejected(t, crashed, bolt.Options{}, jobs.ErrBroken, "later version of its database")
	must(t, os.Remove(filepath.Join(crashed, "jobs.journal")))
	must(t, open(t, crashed, bolt.Options{}).Close())
}

// Callers that come while the disk is flushed share the next transaction.
func TestCallersShareTransactions(t *testing.T) {
	folder := t.TempDir()
	e := open(t, folder, bolt.Options{})
	const callers, each = 64, 8
	var group sync.WaitGroup
	var stale atomic.Int32
	shared := accept(t, e, 0)
	for range callers {
		group.Go(func() {
			for range each {
				accept(t, e, 10)
				version := *shared
				if err := e.Update(t.Context(), &version, nil); errors.Is(err, jobs.ErrStale) {
					stale.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if n := stale.Load(); n != callers*each-1 {
		t.Errorf("%d of %d updates of one version were stale", n, callers*each)
	}
	if u, err := e.Usage(t.Context()); err != nil || u.Jobs != callers*each+1 {
		t.Errorf("%+v, %v", u, err)
	}
	must(t, e.Close())
	sound(t, folder)
	n := transactions(t, folder)
	if most := callers*each*2 + 10; n > most/2 {
		t.Errorf("%d transactions for %d changes", n, most)
	}
}

func TestCallerLeavesBeforeItsTransaction(t *testing.T) {
	e := open(t, t.TempDir(), bolt.Options{})
	defer e.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newRecord()
	if _, err := e.Accept(ctx, r, jobs.Body{}); !errors.Is(err, context.Canceled) || r.Rev != 0 {
		t.Errorf("Rev %d, %v", r.Rev, err)
	}
	if _, err := e.Get(t.Context(), r.ID); !errors.Is(err, jobs.ErrUnknown) {
		t.Errorf("a job that was not accepted: %v", err)
	}
}

func TestCrashBetweenBodyAndRecord(t *testing.T) {
	folder := t.TempDir()
	e := open(t, folder, bolt.Options{})
	kept := accept(t, e, 2*jobs.InlineBytes)
	w, err := e.NewBody(t.Context())
	must(t, err)
	_, err = w.Write(make([]byte, 2*jobs.InlineBytes))
	must(t, err)
	body, err := w.End()
	must(t, err)
	spool := func(folder string) int {
		names, err := os.ReadDir(filepath.Join(folder, "spool"))
		must(t, err)
		return len(names)
	}
	crashed := image(t, folder)
	named := image(t, folder) // the body has the name of its job already
	must(t, os.Rename(filepath.Join(named, "spool", body.File), filepath.Join(named, "spool", newRecord().ID.String()+".body")))
	must(t, e.Close())
	for _, folder := range []string{crashed, named} {
		if n := spool(folder); n != 2 {
			t.Fatalf("%d files in the spool", n)
		}
		e := open(t, folder, bolt.Options{})
		readable(t, e, kept)
		must(t, e.Close())
		if n := spool(folder); n != 1 {
			t.Errorf("%d files are left", n)
		}
	}
}

func TestFullStoreRejectsNewJobs(t *testing.T) {
	for name, o := range map[string]bolt.Options{
		"bytes": {MaxBytes: 2 << 20, MinFree: -1},
		"disk":  {MinFree: 1 << 60},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			e := open(t, folder, bolt.Options{})
			first := accept(t, e, 2*jobs.InlineBytes)
			must(t, e.Close())
			e, err := bolt.Open(folder, o)
			must(t, err)
			defer e.Close()
			for range 300 {
				if _, err = e.Accept(t.Context(), newRecord(), jobs.Body{Inline: make([]byte, jobs.InlineBytes)}); err != nil {
					break
				}
			}
			if !errors.Is(err, jobs.ErrFull) {
				t.Fatalf("Accept: %v", err)
			}
			if _, err := e.NewBody(t.Context()); name == "disk" && !errors.Is(err, jobs.ErrFull) {
				t.Errorf("NewBody: %v", err)
			}
			f, err := e.NewResult(t.Context(), first.ID, 1, 1)
			must(t, err)
			if _, err := f.Write(make([]byte, 1<<20)); !errors.Is(err, jobs.ErrFull) {
				t.Errorf("Write of a result: %v", err)
			}
			must(t, f.Close())
			succeed(t, e, first, 10)
			readable(t, e, first)
			must(t, e.Remove(t.Context(), first.ID, first.Rev))
		})
	}
}

func TestNothingCanBeReadWithoutKeys(t *testing.T) {
	folder := t.TempDir()
	e := open(t, folder, bolt.Options{Keys: testKeys()})
	all := []*jobs.Record{accept(t, e, 1000), accept(t, e, 5*jobs.InlineBytes), accept(t, e, 0), accept(t, e, 200_000)}
	for i, size := range []int{1000, 5 * jobs.InlineBytes} {
		succeed(t, e, all[i], size)
	}
	crashed := image(t, folder)
	must(t, e.Close())
	for _, folder := range []string{folder, crashed} {
		must(t, filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
			must(t, err)
			if entry.IsDir() {
				return nil
			}
			file, err := os.ReadFile(path)
			must(t, err)
			for _, secret := range []string{"bodybody", "resultresult", "acme", "application/json", "/report", "example.com"} {
				if bytes.Contains(file, []byte(secret)) {
					t.Errorf("%s contains %q", path, secret)
				}
			}
			return nil
		}))
	}
	rejected(t, folder, bolt.Options{}, nil, "encrypted", "'first'")
	other := []bolt.Key{{ID: "first", Secret: [32]byte{2}}}
	rejected(t, folder, bolt.Options{Keys: other}, jobs.ErrBroken)

	rotated := append([]bolt.Key{{ID: "second", Secret: [32]byte{3}}}, testKeys()...)
	e = open(t, folder, bolt.Options{Keys: rotated})
	for _, r := range all {
		readable(t, e, r)
		must(t, e.Update(t.Context(), r, nil))
	}
	if page, err := e.List(t.Context(), jobs.Query{Tenant: "acme", Limit: 10}); err != nil || len(page.Records) != len(all) {
		t.Errorf("%d jobs are listed, %v", len(page.Records), err)
	}
	must(t, e.Close())
	sound(t, folder, rotated...)
}

// A store that was not encrypted is read with keys, and is encrypted as far as it is written then.
func TestKeysComeLater(t *testing.T) {
	folder, all := filled(t, bolt.Options{}, 8)
	e := open(t, folder, bolt.Options{Keys: testKeys()})
	for _, r := range all {
		readable(t, e, r)
	}
	readable(t, e, accept(t, e, 2*jobs.InlineBytes))
	must(t, e.Close())
	rejected(t, folder, bolt.Options{}, nil, "encrypted")
	sound(t, folder, testKeys()...)
}

// The next attempt of a job removes a result file that a reader has open, and the reader goes on.
func TestReadersKeepRemovedResults(t *testing.T) {
	e := open(t, t.TempDir(), bolt.Options{})
	defer e.Close()
	r := accept(t, e, 0)
	r.Attempt = 1
	f, err := e.NewResult(t.Context(), r.ID, 1, 1)
	must(t, err)
	_, err = f.Write(bytes.Repeat([]byte("a"), 100_000))
	must(t, err)
	second, err := e.NewResult(t.Context(), r.ID, 1, 2)
	must(t, err)
	p := make([]byte, 100_000)
	if n, err := f.ReadAt(p, 0); n != len(p) || err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes, %v", n, err)
	}
	must(t, f.Close())
	must(t, second.Close())
	r.State, r.KeepUntil = jobs.Cancelled, time.Now()
	must(t, e.Update(t.Context(), r, nil))
}
