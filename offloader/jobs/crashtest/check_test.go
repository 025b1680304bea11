package crashtest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// report has the numbers of a run.
type report struct {
	boots, accepted, stored int
	// again counts attempts that followed an end of the process, most those that followed
	// one end. Unknown counts jobs that may not be run again.
	again, most, unknown, poisoned int
	// tooLarge counts results for which there was no room.
	tooLarge int
}

// check compares the store with the journal after the last child, and empties it.
func (s *stage) check() report {
	s.Helper()
	engine, err := openEngine(s.folder, s.sealed)
	if err != nil {
		s.Fatal(err)
	}
	defer engine.Close()
	if engine.LastEnd() != jobs.Closed {
		s.Error("the last child has not closed the store")
	}
	for r, err := range engine.Open(s.Context()) {
		s.Fatalf("a job has not ended: %v, %v", r, err)
	}
	lines := s.lines()
	rep := report{boots: s.boots}
	stored := s.records(engine)
	rep.stored = len(stored)
	rep.accepted = s.checkAccepted(lines, stored)
	s.checkAttempts(lines, stored)
	s.checkCancelled(lines, stored)
	s.checkHooks(lines, stored)
	rep.again, rep.most = s.checkAgain(lines)
	for _, r := range stored {
		s.checkEnd(engine, r)
		switch r.Reason {
		case jobs.OutcomeUnknown:
			rep.unknown++
		case jobs.Poison:
			rep.poisoned++
		case jobs.NoSpace:
			rep.tooLarge++
		}
	}
	s.empty(engine, stored)
	return rep
}

func (s *stage) records(engine jobs.Engine) map[jobs.ID]*jobs.Record {
	s.Helper()
	all := make(map[jobs.ID]*jobs.Record)
	for q := (jobs.Query{Limit: 100}); ; {
		page, err := engine.List(s.Context(), q)
		if err != nil {
			s.Fatal(err)
		}
		for _, r := range page.Records {
			all[r.ID] = r
			q.Before = r.ID
		}
		if !page.More {
			return all
		}
	}
}

// checkAccepted fails the test if an accepted job is not stored, or a key has two jobs.
func (s *stage) checkAccepted(lines []line, stored map[jobs.ID]*jobs.Record) int {
	s.Helper()
	jobOf := make(map[int]jobs.ID)
	for _, r := range stored {
		key := keyOf(r)
		if id, ok := jobOf[key]; ok {
			s.Errorf("key %d belongs to %s and %s", key, id.Short(), r.ID.Short())
		}
		jobOf[key] = r.ID
	}
	n := 0
	for _, l := range lines {
		switch l.What {
		case wrong:
			s.Errorf("boot %d, key %d: %s", l.Boot, l.Key, l.Note)
		case rejected:
			if !s.rejects {
				s.Errorf("boot %d: key %d was rejected: %s", l.Boot, l.Key, l.Note)
			}
		case accepted:
			n++
			if jobOf[l.Key] != l.ID {
				s.Errorf("boot %d: key %d was accepted as %s, and belongs to %s", l.Boot, l.Key, l.ID.Short(), jobOf[l.Key].Short())
			}
		}
	}
	return n
}

// checkAttempts fails the test if the attempts of the journal are not those of the records.
func (s *stage) checkAttempts(lines []line, stored map[jobs.ID]*jobs.Record) {
	s.Helper()
	type attempt struct {
		id     jobs.ID
		number int
	}
	starts := make(map[attempt]bool)
	last := make(map[jobs.ID]int)
	for _, l := range lines {
		if l.What != started {
			continue
		}
		if l.Attempt <= last[l.ID] {
			s.Errorf("boot %d: attempt %d of %s follows attempt %d", l.Boot, l.Attempt, l.ID.Short(), last[l.ID])
		}
		last[l.ID] = l.Attempt
		starts[attempt{l.ID, l.Attempt}] = true
	}
	for id, number := range last {
		if r := stored[id]; r == nil || r.Attempt < number {
			s.Errorf("attempt %d of %s has run, and is not stored: %+v", number, id.Short(), r)
		}
	}
	for _, r := range stored {
		first := r.Attempt - len(r.Attempts)
		for i, a := range r.Attempts {
			if a.Generation != 1 || a.Number != first+i+1 || a.Ended.Before(a.Began) {
				s.Errorf("attempt %d of %s is stored as %+v", first+i+1, r.ID.Short(), a)
			}
			if a.Class != jobs.Interrupted && !starts[attempt{r.ID, a.Number}] {
				s.Errorf("attempt %d of %s was not started, and is stored as %+v", a.Number, r.ID.Short(), a)
			}
		}
	}
}

// checkAgain counts the jobs that were run again because a process has ended. It fails the
// test if one of them may not be run again, or if they are more than ran at a time.
func (s *stage) checkAgain(lines []line) (again, most int) {
	s.Helper()
	last := make(map[jobs.ID]line)
	after := make(map[int]int) // by the boot that has ended
	for _, l := range lines {
		before, known := last[l.ID]
		switch {
		case l.What == started:
			if known && route(l.Key) == "once" {
				s.Errorf("boot %d: %s, which may not be run again, was run in boot %d too", l.Boot, l.ID.Short(), before.Boot)
			}
			if known && before.Class != jobs.Broken {
				after[before.Boot]++
			}
			last[l.ID] = l
		case l.What == ended:
			last[l.ID] = l
		}
	}
	for boot, n := range after {
		again += n
		most = max(most, n)
		if n > 2*perRoute {
			s.Errorf("%d jobs were run again after boot %d, at most %d ran", n, boot, 2*perRoute)
		}
	}
	return again, most
}

// checkEnd fails the test if a job has not ended as it must.
func (s *stage) checkEnd(engine jobs.Engine, r *jobs.Record) {
	s.Helper()
	interrupted := len(r.Attempts) > 0 && r.Attempts[len(r.Attempts)-1].Class == jobs.Interrupted
	switch {
	case r.State == jobs.Succeeded:
		s.checkResult(engine, r)
	case r.State == jobs.Cancelled && r.Cancel != nil && cancels(keyOf(r)):
	case r.State == jobs.Failed && r.Reason == jobs.OutcomeUnknown && interrupted && !r.Repeatable:
	case r.State == jobs.Failed && r.Reason == jobs.NoSpace && s.rejects:
	case r.State == jobs.Dead && r.Reason == jobs.Poison && interrupted && r.Crashes == 3:
	default:
		s.Errorf("%s has ended as %s: %+v", r.ID.Short(), r.State, r)
	}
}

func (s *stage) checkResult(engine jobs.Engine, r *jobs.Record) {
	s.Helper()
	result, err := engine.Result(s.Context(), r)
	if err != nil {
		s.Errorf("result of %s: %v", r.ID.Short(), err)
		return
	}
	defer result.Close()
	got, err := io.ReadAll(io.NewSectionReader(result, 0, result.Size()))
	if err != nil || !bytes.Equal(got, resultOf(keyOf(r))) {
		s.Errorf("result of %s: %d bytes that are not its result, error %v", r.ID.Short(), len(got), err)
	}
}

// empty removes all jobs, and fails the test if files are left that an empty store has not.
func (s *stage) empty(engine jobs.Engine, stored map[jobs.ID]*jobs.Record) {
	s.Helper()
	var removals errgroup.Group // at the same time, so that they share transactions
	removals.SetLimit(64)
	for _, r := range stored {
		removals.Go(func() error { return engine.Remove(s.Context(), r.ID, r.Rev) })
	}
	if err := removals.Wait(); err != nil {
		s.Error(err)
	}
	folder := s.TempDir()
	other, err := openEngine(folder, s.sealed)
	if err != nil {
		s.Fatal(err)
	}
	defer other.Close()
	want := len(files(s.T, folder))
	if !testkit.Poll(5*time.Second, func() bool { return len(files(s.T, s.folder)) == want }) {
		got := files(s.T, s.folder)
		s.Errorf("%d files are left, an empty store has %d: %v", len(got), want, got[:min(len(got), 10)])
	}
}

// files returns the files below a folder.
func files(t *testing.T, folder string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // the engine may remove files meanwhile
		t.Fatal(err)
	}
	return all
}
