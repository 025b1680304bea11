package bolt

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt/internal/journal"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/sealed"
)

// Names in the folder of a store.
const (
	databaseName = "jobs.db"
	newName      = "jobs.db.new" // while it is made
	processName  = "jobs.pid"    // the process that uses the store
	spoolName    = "spool"
	lockTimeout  = time.Second
)

// Open opens the store in a folder, or makes a new one. A damaged store stays as it is:
// the error wraps jobs.ErrBroken.
func Open(folder string, o Options) (*Engine, error) {
	e := &Engine{folder: folder}
	e.room = &room{e: e, maxBytes: max(0, o.MaxBytes), minFree: o.MinFree}
	if o.MaxBytes == 0 {
		e.room.maxBytes = defaultMaxBytes
	}
	e.files = &files{
		e: e, folder: filepath.Join(folder, spoolName),
		results: map[jobs.ID][]*resultFile{}, stop: make(chan struct{}),
	}
	if len(o.Keys) > 0 {
		keys, err := sealed.NewKeys(o.Keys...)
		if err != nil {
			return nil, fmt.Errorf("the keys of the store of jobs in %s: %w", folder, err)
		}
		e.keys = keys
	}
	if err := os.MkdirAll(e.files.folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the store of jobs: %w", err)
	}
	err := guarded(e.start, func(cause any) error { return brokenError(folder, cause) })
	if err != nil {
		return nil, errors.Join(err, e.abandon())
	}
	e.writer = &writer{e: e, committed: o.Committed}
	if err := e.files.sweep(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// abandon closes a database that is not used, as it is.
func (e *Engine) abandon() error {
	if e.db == nil {
		return nil
	}
	return guarded(func() error {
		e.unpin()
		return e.db.Close()
	}, func(any) error { return e.closeFile() })
}

// closeFile gives up a database that bbolt cannot close.
func (e *Engine) closeFile() error {
	return errors.Join(journal.Unlock(e.file), e.file.Close())
}

func (e *Engine) start() (err error) {
	if err = e.create(); err != nil {
		return err
	}
	if err = e.openDatabase(false); err != nil {
		return err
	}
	if err = e.compact(); err != nil {
		return err
	}
	_ = os.WriteFile(filepath.Join(e.folder, processName), []byte(strconv.Itoa(os.Getpid())), 0o600)
	if err = e.db.Update(e.begin); err != nil {
		return full(err)
	}
	return e.useJournal()
}

// create makes the database, if there is none. It gets its name when it is complete, so an
// empty or short file is always a damaged one.
func (e *Engine) create() error {
	name := filepath.Join(e.folder, databaseName)
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if names, err := readNames(e.files.folder); err != nil || len(names) > 0 {
		return errors.Join(err, fmt.Errorf("%w: %s is missing, but there are files of jobs in %s; restore it, or remove them to begin with an empty store",
			jobs.ErrBroken, name, e.files.folder))
	}
	made := filepath.Join(e.folder, newName+"."+strconv.Itoa(os.Getpid()))
	defer os.Remove(made)
	db, err := bbolt.Open(made, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return full(err)
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	err = db.Update(func(tx *bbolt.Tx) error {
		for t := range tables {
			if _, err := tx.CreateBucket(t.name()); err != nil {
				return err
			}
		}
		meta := tx.Bucket(metaTable.name())
		return errors.Join(
			meta.Put(schemaKey, binary.AppendUvarint(nil, schema)),
			meta.Put(usedKey, usedClosed),
			meta.Put(saltKey, e.seal(nil, salt, metaTable)),
		)
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return full(err)
	}
	// A link never replaces a store that another process makes at the same time.
	if err := os.Link(made, name); err != nil && !errors.Is(err, fs.ErrExist) {
		if err := os.Rename(made, name); err != nil {
			return err
		}
	}
	return errors.Join(syncFolder(e.folder), syncFolder(filepath.Dir(e.folder)))
}

// openDatabase opens the database, which exists, and locks it.
func (e *Engine) openDatabase(readOnly bool) (err error) {
	path := filepath.Join(e.folder, databaseName)
	e.reserved = strconv.IntSize == 64 && runtime.GOOS != "windows" // which makes the file as large
	defer func() {
		if e.db == nil && e.file != nil { // bbolt has left it open, and locked
			_ = e.closeFile()
		}
	}()
	e.db, err = e.openReserved(path, readOnly)
	if e.reserved && errors.Is(err, syscall.ENOMEM) {
		e.reserved = false
		e.db, err = e.openReserved(path, readOnly)
	}
	switch {
	case errors.Is(err, berrors.ErrTimeout), errors.Is(err, journal.ErrLocked):
		return fmt.Errorf("%w: %s is locked by %s; end it, or give this one another folder", ErrLocked, path, lockHolder(e.folder))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		return brokenError(e.folder, err)
	}
	// The process that had the lock may have put another file in its place.
	here, err1 := e.file.Stat()
	there, err2 := os.Stat(path)
	if err := errors.Join(err1, err2); err != nil || !os.SameFile(here, there) {
		return errors.Join(err, fmt.Errorf("%w: %s was replaced meanwhile", ErrLocked, path))
	}
	e.db.NoFreelistSync = false
	e.pageSize = int64(e.db.Info().PageSize)
	return e.recover()
}

func (e *Engine) openReserved(path string, readOnly bool) (*bbolt.DB, error) {
	o := &bbolt.Options{
		Timeout: lockTimeout, ReadOnly: readOnly, FreelistType: bbolt.FreelistMapType,
		NoFreelistSync:  true, // else bbolt may begin with a transaction
		PreLoadFreelist: true,
		OpenFile: func(_ string, flag int, mode os.FileMode) (f *os.File, err error) {
			e.file, err = lockedFile(e.folder, flag, mode)
			return e.file, err
		},
	}
	if space := reservedSpace; e.reserved {
		o.InitialMmapSize = int(space)
	}
	return bbolt.Open(path, 0o600, o)
}

// lockHolder returns the process that uses the store, as far as it is known.
func lockHolder(folder string) string {
	b, err := os.ReadFile(filepath.Join(folder, processName))
	switch id := strings.TrimSpace(string(b)); {
	case err != nil || id == "":
		return "another process"
	case id == strconv.Itoa(os.Getpid()):
		return "this process"
	default:
		return "process " + id
	}
}

// begin checks what the database says of itself, and marks it as in use.
func (e *Engine) begin(tx *bbolt.Tx) error {
	if err := checkTables(e.folder, tx, e.file); err != nil {
		return err
	}
	meta := tx.Bucket(metaTable.name())
	machine := runOfMachine()
	e.lastEnd = lastEnd(meta.Get(usedKey), meta.Get(machineKey), machine)
	var err error
	if e.salt, err = e.readSalt(meta.Get(saltKey)); err != nil {
		return err
	}
	var t totals
	readNumbers(meta.Get(totalsKey), &t)
	e.totals.Store(&t)
	boots, _ := binary.Uvarint(meta.Get(bootsKey))
	return errors.Join(
		meta.Put(usedKey, usedOpen),
		meta.Put(machineKey, machine),
		meta.Put(bootsKey, binary.AppendUvarint(nil, boots+1)),
		meta.Put(saltKey, e.seal(nil, e.salt, metaTable)), // with the current key
	)
}

// runOfMachine returns what identifies the time since the start of the machine, empty if the
// system has no such name. Containers have that of their machine.
func runOfMachine() []byte {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return bytes.TrimSpace(id)
}

func lastEnd(used, machine, now []byte) jobs.End {
	switch {
	case bytes.Equal(used, usedClosed):
		return jobs.Closed
	case bytes.Equal(used, usedStopping):
		return jobs.Killed
	case len(machine) > 0 && len(now) > 0 && !bytes.Equal(machine, now):
		return jobs.PowerCut
	}
	return jobs.Crashed
}

// readSalt shows too whether the keys are right.
func (e *Engine) readSalt(stored []byte) ([]byte, error) {
	salt := stored
	switch {
	case len(stored) > 0 && stored[0] == plainValue:
		salt = bytes.Clone(stored[1:])
	case len(stored) > 0 && stored[0] == sealedValue:
		plain, err := e.keys.Open(stored[1:], bytesPlace(nil, metaTable))
		if errors.Is(err, sealed.ErrNoKey) {
			return nil, fmt.Errorf("the store of jobs in %s is encrypted: %w", e.folder, err)
		}
		if err != nil {
			return nil, brokenError(e.folder, err)
		}
		salt = plain
	}
	if len(salt) != 16 {
		return nil, brokenError(e.folder, "its salt is missing")
	}
	return salt, nil
}

// checkTables returns an error if the database is not one of this version, or is cut.
func checkTables(folder string, tx *bbolt.Tx, file *os.File) error {
	if info, err := file.Stat(); err != nil || info.Size() < tx.Size() {
		return errors.Join(err, brokenError(folder, fmt.Sprintf("it is cut: it should have at least %d bytes", tx.Size())))
	}
	meta := tx.Bucket(metaTable.name())
	if meta == nil {
		return brokenError(folder, "it is no store of jobs")
	}
	version, n := binary.Uvarint(meta.Get(schemaKey))
	switch {
	case n <= 0:
		return brokenError(folder, "it has no version")
	case version > schema:
		return fmt.Errorf("%w: %s has version %d of a newer program, and this one reads up to %d; use the newer program, or give this one another folder",
			jobs.ErrBroken, filepath.Join(folder, databaseName), version, schema)
	}
	for t := range tables {
		if tx.Bucket(t.name()) == nil {
			return brokenError(folder, fmt.Sprintf("the table '%s' is missing", t.name()))
		}
	}
	return nil
}

// A database is made small when it opens and more than this part of it, and this many bytes,
// are unused: it never shrinks otherwise.
const (
	compactPart  = 0.6
	compactBytes = 64 << 20
)

// compact replaces the database by a copy without unused pages, if that is worth it. Without
// room for the copy it stays as it is.
func (e *Engine) compact() error {
	made := filepath.Join(e.folder, newName)
	_ = os.Remove(made) // of a crash
	info, err := e.file.Stat()
	if err != nil {
		return err
	}
	free := int64(e.db.Stats().FreePageN) * int64(e.db.Info().PageSize)
	if free < compactBytes || float64(free) < compactPart*float64(info.Size()) {
		return nil
	}
	if copyDatabase(made, e.db) != nil {
		return os.Remove(made)
	}
	// The lock of the old file is held until the new one is in its place, except where an
	// open file cannot be replaced.
	if runtime.GOOS == "windows" {
		err = e.db.Close()
	}
	if err == nil {
		err = os.Rename(made, filepath.Join(e.folder, databaseName))
	}
	if err == nil {
		err = syncFolder(e.folder)
	}
	if err != nil {
		return err
	}
	if err := e.db.Close(); err != nil {
		return err
	}
	e.db = nil
	return e.openDatabase(false)
}

func copyDatabase(name string, from *bbolt.DB) error {
	to, err := bbolt.Open(name, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, NoSync: true})
	if err != nil {
		return err
	}
	err = bbolt.Compact(to, from, 1<<20)
	if err == nil {
		err = to.Sync()
	}
	if closed := to.Close(); err == nil {
		err = closed
	}
	return err
}
