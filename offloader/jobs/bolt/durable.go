package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/offloader/internal/diskspace"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt/internal/journal"
)

const (
	journalName = "jobs.journal"
	// reservedSpace is for the addresses of the database: it cannot get others while a reader
	// holds the pages of a checkpoint. spareSpace is more than a transaction needs.
	reservedSpace int64 = 16 << 30
	spareSpace    int64 = 1 << 30
	// checkpointAfter transactions comes a checkpoint: pages that are held cannot be used
	// again, and each transaction looks at those before it.
	checkpointAfter = 512
)

func (e *Engine) journalName() string { return filepath.Join(e.folder, journalName) }

// durable commits a transaction. An error that wraps no jobs.ErrBroken leaves the database as
// it was. If it cannot be known which version the file has, the store is not used further.
//
// bbolt writes its list of free pages only before a checkpoint: the list grows with the
// database, and after a crash that of the checkpoint counts.
func (e *Engine) durable(tx *bbolt.Tx, log []byte) error {
	e.sinceCheckpoint++
	logged := e.journal != nil && e.journal.Fits(log)
	checkpoint := e.journal != nil && (!logged || e.sinceCheckpoint >= checkpointAfter)
	e.db.NoSync = e.journal != nil
	e.db.NoFreelistSync = e.journal != nil && !checkpoint
	number := tx.ID()
	committed := make(chan error, 1)
	go func() { committed <- guarded(tx.Commit, e.breaks) }()
	var appended error
	if logged { // by this goroutine: its flush takes the longest, and begins at once
		appended = e.journal.Append(log)
	}
	err := <-committed
	switch {
	case errors.Is(err, jobs.ErrBroken):
		return err
	case appended != nil:
		return e.breaks(appended)
	}
	if err == nil && checkpoint {
		err = e.checkpoint()
	}
	if err == nil {
		return nil
	}
	if !diskspace.Full(err) || e.committed(number) {
		return e.breaks(err)
	}
	if logged {
		if undone := e.journal.Undo(log); undone != nil {
			return e.breaks(undone)
		}
	}
	return err
}

// committed reports whether a transaction can be read.
func (e *Engine) committed(number int) bool {
	last := number
	err := e.db.View(func(tx *bbolt.Tx) error {
		last = tx.ID()
		return nil
	})
	return err != nil || last >= number
}

// useJournal begins the journal, if the system and the size of the database allow it.
func (e *Engine) useJournal() (err error) {
	if !journal.Supported || !e.reserved || 2*e.pageSize > journal.MaxPages || e.size > reservedSpace-2*spareSpace {
		return nil
	}
	e.journal, err = journal.Create(e.journalName())
	switch {
	case diskspace.Full(err): // jobs that are stored can go on without it
		return nil
	case err != nil:
		return err
	}
	return e.checkpoint()
}

// checkpoint flushes the database, and begins the journal again.
func (e *Engine) checkpoint() error {
	if err := e.db.Sync(); err != nil {
		return err
	}
	pages := make([]byte, 2*e.pageSize)
	if _, err := e.file.ReadAt(pages, 0); err != nil {
		return err
	}
	if err := e.journal.Checkpoint(pages); err != nil {
		return err
	}
	e.unpin()
	e.sinceCheckpoint = 0
	var err error
	e.pin, err = e.db.Begin(false)
	return err
}

func (e *Engine) unpin() {
	if e.pin != nil {
		_ = e.pin.Rollback() // of a reader
		e.pin = nil
	}
}

// leaveJournal flushes the database, and ends the use of the journal. If the database cannot be
// flushed, the journal stays for the next start.
func (e *Engine) leaveJournal() error {
	if e.journal == nil {
		return nil
	}
	left := e.journal
	e.journal, e.db.NoSync = nil, false
	e.unpin()
	if err := e.db.Sync(); err != nil {
		return errors.Join(err, left.Close())
	}
	return left.End()
}

// recover does what the journal of a crash has, and the database has not.
func (e *Engine) recover() error {
	used, err := journal.InUse(e.journalName())
	if err != nil || !used {
		return err
	}
	if !journal.Supported {
		return fmt.Errorf("%s is in use, by another kind of system: open it there", e.journalName())
	}
	err = e.db.Update(func(tx *bbolt.Tx) error {
		return journal.Replay(e.journalName(), func(entry []byte) error { return replay(tx, entry) })
	})
	if err != nil {
		return full(err)
	}
	return journal.End(e.journalName())
}

func appendPut(log []byte, t table, key, value []byte) []byte {
	log = binary.AppendUvarint(append(log, byte(t)), uint64(len(key)))
	log = binary.AppendUvarint(append(log, key...), uint64(len(value)+1))
	return append(log, value...)
}

func appendDelete(log []byte, t table, key []byte) []byte {
	log = binary.AppendUvarint(append(log, byte(t)), uint64(len(key)))
	return append(append(log, key...), 0)
}

var errEntry = errors.New("an entry of the journal is malformed")

// replay does the puts and deletes of a transaction.
func replay(tx *bbolt.Tx, log []byte) error {
	part := func(less uint64) []byte {
		size, n := binary.Uvarint(log)
		if n <= 0 || size < less || size-less > uint64(len(log)-n) {
			return nil
		}
		p := log[n : n+int(size-less)]
		log = log[n+len(p):]
		return p
	}
	for len(log) > 0 {
		t := table(log[0])
		log = log[1:]
		key := part(0)
		if t >= tables || len(key) == 0 || len(log) == 0 {
			return errEntry
		}
		bucket := tx.Bucket(t.name())
		bucket.FillPercent = fill
		if log[0] == 0 {
			log = log[1:]
			if err := bucket.Delete(key); err != nil {
				return err
			}
			continue
		}
		value := part(1)
		if value == nil {
			return errEntry
		}
		if err := bucket.Put(key, value); err != nil {
			return err
		}
	}
	return nil
}

// lockedFile opens a file for bbolt, and leads it back to the last checkpoint first.
func lockedFile(folder string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(folder, databaseName), flag&^os.O_CREATE, mode)
	if err != nil || !journal.Supported || flag&os.O_RDWR == 0 {
		return f, err
	}
	if err = journal.Lock(f, lockTimeout); err == nil {
		err = journal.Restore(filepath.Join(folder, journalName), f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
