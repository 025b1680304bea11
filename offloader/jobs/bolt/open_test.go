package bolt_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

// filled returns the folder of a closed store with jobs of all kinds, and the jobs.
func filled(t testing.TB, o bolt.Options, n int) (folder string, all []*jobs.Record) {
	t.Helper()
	folder = t.TempDir()
	e := open(t, folder, o)
	for i := range n {
		r := accept(t, e, []int{0, 10, jobs.InlineBytes, 2 * jobs.InlineBytes}[i%4])
		if i%3 > 0 {
			succeed(t, e, r, []int{0, 10, jobs.InlineBytes, 2 * jobs.InlineBytes}[i/3%4])
		}
		all = append(all, r)
	}
	must(t, e.Close())
	return folder, all
}

func TestFilesAreForTheirUserAlone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "store")
	e := open(t, folder, bolt.Options{})
	accept(t, e, 2*jobs.InlineBytes)
	must(t, e.Close())
	must(t, filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		must(t, err)
		info, err := entry.Info()
		must(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	}))
}

func TestStoreInUseIsNotOpened(t *testing.T) {
	if folder := os.Getenv("BOLT_TEST_HOLD"); folder != "" {
		e := open(t, folder, bolt.Options{})
		fmt.Println("open")
		os.Stdin.Read(make([]byte, 1))
		must(t, e.Close())
		return
	}
	folder := t.TempDir()
	holder := exec.Command(os.Args[0], "-test.run=^TestStoreInUseIsNotOpened$")
	holder.Env = append(os.Environ(), "BOLT_TEST_HOLD="+folder)
	stdin, err := holder.StdinPipe()
	must(t, err)
	stdout, err := holder.StdoutPipe()
	must(t, err)
	must(t, holder.Start())
	stdout.Read(make([]byte, 1))

	rejected(t, folder, bolt.Options{}, bolt.ErrLocked, database(folder), fmt.Sprintf("process %d", holder.Process.Pid), "another folder")
	if _, err := bolt.Check(folder); err == nil {
		t.Error("a store in use is checked")
	}
	stdin.Close()
	must(t, holder.Wait())
	must(t, open(t, folder, bolt.Options{}).Close())
}

func TestDamagedStoreIsNotReplaced(t *testing.T) {
	whole, _ := filled(t, bolt.Options{}, 40)
	size := func(folder string) int64 {
		info, err := os.Stat(database(folder))
		must(t, err)
		return info.Size()
	}
	for name, damage := range map[string]func(folder string) error{
		"empty":   func(folder string) error { return os.Truncate(database(folder), 0) },
		"cut":     func(folder string) error { return os.Truncate(database(folder), 20<<10) },
		"no meta": func(folder string) error { return overwrite(folder, 0, 8<<10) },
		"missing": func(folder string) error { return os.Remove(database(folder)) },
		"text": func(folder string) error {
			return os.WriteFile(database(folder), bytes.Repeat([]byte("text"), 8<<10), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := image(t, whole)
			must(t, damage(folder))
			rejected(t, folder, bolt.Options{}, jobs.ErrBroken, database(folder))
			if name == "missing" {
				return
			}
			before := size(folder)
			rejected(t, folder, bolt.Options{}, jobs.ErrBroken, "caddy offload jobs check "+folder)
			if size(folder) != before {
				t.Error("the damaged file was changed")
			}
			if report, err := bolt.Check(folder); err != nil || len(report.Problems) == 0 {
				t.Errorf("Check: %+v, %v", report, err)
			}
		})
	}
}

// overwrite puts random bytes into the database.
func overwrite(folder string, from, to int64) error {
	f, err := os.OpenFile(database(folder), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	noise := make([]byte, to-from)
	rand.NewChaCha8([32]byte{byte(from)}).Read(noise)
	_, err = f.WriteAt(noise, from)
	return err
}

// Each page is damaged in turn. The process goes on, and the damage is reported.
func TestDamagedPagesEndNothing(t *testing.T) {
	whole, all := filled(t, bolt.Options{}, 24)
	pages := sound(t, whole).Bytes >> 12
	noticed := 0
	for page := int64(2); page < pages; page += 1 + pages/50 {
		folder := image(t, whole)
		must(t, overwrite(folder, page<<12, page<<12+4096))
		report, err := bolt.Check(folder)
		must(t, err)
		if len(report.Problems) > 0 {
			noticed++
		}
		var out bytes.Buffer
		_ = bolt.Export(folder, &out)
		if n := bytes.Count(out.Bytes(), []byte("\n")); n < len(all)/3 {
			t.Errorf("page %d: only %d of %d records are exported", page, n, len(all))
		}
		e, err := bolt.Open(folder, bolt.Options{MinFree: -1})
		if err != nil {
			continue
		}
		for _, r := range all {
			_, _ = e.Get(t.Context(), r.ID)
			_ = e.Update(t.Context(), r, nil)
		}
		_, _ = e.List(t.Context(), jobs.Query{Limit: 100})
		_, _ = e.Accept(t.Context(), newRecord(), jobs.Body{})
		_ = e.Close()
	}
	if noticed == 0 {
		t.Error("Check has noticed no damage")
	}
}

func TestExportWritesAllRecords(t *testing.T) {
	o := bolt.Options{Keys: testKeys()}
	folder, all := filled(t, o, 30)
	var out bytes.Buffer
	must(t, bolt.Export(folder, &out, o.Keys...))
	got := map[jobs.ID]jobs.State{}
	for line := range strings.Lines(out.String()) {
		var r jobs.Record
		must(t, json.Unmarshal([]byte(line), &r))
		got[r.ID] = r.State
	}
	for _, r := range all {
		if got[r.ID] != r.State {
			t.Errorf("job %s is %s, want %s", r.ID.Short(), got[r.ID], r.State)
		}
	}
	if err := bolt.Export(folder, &out); err == nil {
		t.Error("an encrypted store is exported without its key")
	}
	if report := sound(t, folder); report.Jobs != 30 || report.Encrypted != 30 {
		t.Errorf("without a key: %+v", report)
	}
}

func TestStoreOfALaterVersionIsNotOpened(t *testing.T) {
	folder, _ := filled(t, bolt.Options{}, 1)
	db, err := bbolt.Open(database(folder), 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.AppendUvarint(nil, 7))
	}))
	must(t, db.Close())
	rejected(t, folder, bolt.Options{}, jobs.ErrBroken, "version 7", "newer program")
}

func TestMostlyUnusedDatabaseIsMadeSmall(t *testing.T) {
	folder := t.TempDir()
	e := open(t, folder, bolt.Options{})
	kept := accept(t, e, jobs.InlineBytes)
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			var all []*jobs.Record
			for range 80 {
				all = append(all, accept(t, e, jobs.InlineBytes))
			}
			for _, r := range all {
				if err := e.Remove(t.Context(), r.ID, r.Rev); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	must(t, e.Close())
	before, err := os.Stat(database(folder))
	must(t, err)
	must(t, os.WriteFile(database(folder)+".new", []byte("of a crash during the copy"), 0o600))
	e = open(t, folder, bolt.Options{})
	readable(t, e, kept)
	readable(t, e, accept(t, e, 10))
	must(t, e.Close())
	if after, err := os.Stat(database(folder)); err != nil || after.Size() > before.Size()/3 {
		t.Errorf("the database has %d bytes after %d, %v", after.Size(), before.Size(), err)
	}
	if e.LastEnd() != jobs.Closed {
		t.Error("a copy counts as a crash")
	}
	sound(t, folder)
}

func TestStrayFilesAreRemoved(t *testing.T) {
	folder, all := filled(t, bolt.Options{}, 12)
	spool := filepath.Join(folder, "spool")
	count := func() int {
		names, err := os.ReadDir(spool)
		must(t, err)
		return len(names)
	}
	before := count()
	for range 1500 {
		id := jobs.NewID(all[0].Created)
		for _, name := range []string{id.String() + ".body", id.String() + ".1.1.result", id.String() + ".part"} {
			must(t, os.WriteFile(filepath.Join(spool, name), nil, 0o600))
		}
	}
	must(t, os.WriteFile(filepath.Join(spool, "of an operator"), nil, 0o600))
	e := open(t, folder, bolt.Options{})
	testkit.Eventually(t, func() bool { return count() == before+1 })
	for _, r := range all {
		readable(t, e, r)
	}
	must(t, e.Close())
}

// A store that was not closed, and whose machine has started again since, was in use when the
// machine ended.
func TestTheEndOfTheMachineIsNoCrash(t *testing.T) {
	machine, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skip("the system does not name the runs of its machine")
	}
	for _, c := range []struct {
		machine string
		want    jobs.End
	}{
		{"another", jobs.PowerCut}, {string(bytes.TrimSpace(machine)), jobs.Crashed}, {"", jobs.Crashed},
	} {
		folder, _ := filled(t, bolt.Options{}, 1)
		db, err := bbolt.Open(database(folder), 0o600, nil)
		must(t, err)
		must(t, db.Update(func(tx *bbolt.Tx) error {
			meta := tx.Bucket([]byte("meta"))
			return errors.Join(meta.Put([]byte("clean"), []byte{0}), meta.Put([]byte("machine"), []byte(c.machine)))
		}))
		must(t, db.Close())
		e := open(t, folder, bolt.Options{})
		if got := e.LastEnd(); got != c.want {
			t.Errorf("machine %q: LastEnd is %d, want %d", c.machine, got, c.want)
		}
		must(t, e.Close())
	}
}
