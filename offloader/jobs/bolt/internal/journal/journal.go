// Package journal makes the transactions of a bbolt database durable with one flush of the
// disk each, in place of two, and with fewer bytes.
//
// A transaction is appended to a file that was filled before, and bbolt commits it without a
// flush. Now and then comes a checkpoint: the database is flushed as it is, and the journal
// begins again with a copy of the two pages that say where the trees of the database begin.
// Between checkpoints the pages of these trees are not overwritten, because a reader holds
// them. So after a crash the two pages lead back to the database of the checkpoint, and the
// transactions of the journal to that of the crash.
package journal

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strconv"
)

// Supported reports whether the journal can be used on this system: it must be able to
// reserve addresses for a large database.
const Supported = canLock && strconv.IntSize == 64

const (
	magic     = "OFJ1"
	headSize  = 40 << 10      // room for two pages
	room      = 4 << 20       // for the entries between two checkpoints, in bytes
	headFixed = 4 + 8 + 4 + 4 // magic, epoch, length of the pages, checksum
)

// MaxPages is how long the first two pages of a database may be together.
const MaxPages = headSize - 64

// Frame is how many bytes Append needs before an entry: for length, checksum and number.
const Frame = 16

var checksums = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged: the journal has lost what it needs.
var ErrDamaged = errors.New("the journal is damaged")

// Journal is the file of a database in use.
type Journal struct {
	file  *os.File
	epoch uint64 // of the entries since the last checkpoint
	next  uint64 // number of the next entry
	end   int64  // of the entries
}

// Create opens the file and fills it, so that no later write needs more of the disk.
func Create(name string) (*Journal, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	var random [8]byte // entries of earlier users do not count
	rand.Read(random[:])
	j := &Journal{file: f, epoch: binary.BigEndian.Uint64(random[:])}
	if info, err := f.Stat(); err != nil || info.Size() != headSize+room {
		if err := errors.Join(err, fill(f)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return j, nil
}

func fill(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	zeros := make([]byte, 256<<10)
	for at := int64(0); at < headSize+room; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), headSize+room-at)], at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// Checkpoint begins again. The database must be flushed, and pages its first bytes.
func (j *Journal) Checkpoint(pages []byte) error {
	if len(pages) > MaxPages {
		return fmt.Errorf("the first pages of a database have %d bytes: want at most %d", len(pages), MaxPages)
	}
	j.epoch++
	head := binary.BigEndian.AppendUint64([]byte(magic), j.epoch)
	head = binary.BigEndian.AppendUint32(head, uint32(len(pages)))
	head = binary.BigEndian.AppendUint32(head, crc32.Update(crc32.Checksum(head, checksums), checksums, pages))
	if _, err := j.file.WriteAt(append(head, pages...), 0); err != nil {
		return err
	}
	j.next, j.end = 1, headSize
	return flush(j.file)
}

// Fits reports whether there is room for an entry.
func (j *Journal) Fits(entry []byte) bool {
	return j.end+Frame+int64(len(entry)) <= headSize+room
}

// Append makes an entry durable. entry begins with Frame bytes of room.
func (j *Journal) Append(entry []byte) error {
	binary.BigEndian.PutUint32(entry, uint32(len(entry)-Frame))
	binary.BigEndian.PutUint64(entry[8:], j.next)
	binary.BigEndian.PutUint32(entry[4:], j.checksum(entry))
	if _, err := j.file.WriteAt(entry, j.end); err != nil {
		return err
	}
	if err := flush(j.file); err != nil {
		return err
	}
	j.end += int64(len(entry))
	j.next++
	return nil
}

// checksum covers the epoch too, so that entries from before a checkpoint do not count.
func (j *Journal) checksum(entry []byte) uint32 {
	sum := crc32.Checksum(binary.BigEndian.AppendUint64(nil, j.epoch), checksums)
	sum = crc32.Update(sum, checksums, entry[:4])
	return crc32.Update(sum, checksums, entry[8:])
}

// Undo removes the last entry, whose transaction has failed.
func (j *Journal) Undo(entry []byte) error {
	j.end -= int64(len(entry))
	j.next--
	if _, err := j.file.WriteAt(make([]byte, Frame), j.end); err != nil {
		return err
	}
	return flush(j.file)
}

// End marks the journal as not in use, and closes it. The database must be flushed.
func (j *Journal) End() error {
	_, err := j.file.WriteAt(make([]byte, headFixed), 0)
	if err == nil {
		err = flush(j.file)
	}
	return errors.Join(err, j.file.Close())
}

// End marks the journal of a database that is flushed as not in use.
func End(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return (&Journal{file: f}).End()
}

// Close leaves the journal as after a crash.
func (j *Journal) Close() error { return j.file.Close() }

type head struct {
	epoch uint64
	pages []byte
}

// readHead returns the head of a journal in use. A head whose checksum is wrong is that of
// a crash during a checkpoint, or at the begin: the database was flushed then.
func readHead(f *os.File) (h head, used bool, err error) {
	b := make([]byte, headSize)
	n, err := f.ReadAt(b, 0)
	if n < headFixed {
		return h, false, nil
	}
	if err != nil && n < headSize {
		b = b[:n]
	}
	size := int64(binary.BigEndian.Uint32(b[12:]))
	if string(b[:4]) != magic || size > int64(len(b)-headFixed) {
		return h, false, nil
	}
	h.epoch, h.pages = binary.BigEndian.Uint64(b[4:]), b[headFixed:headFixed+size]
	sum := crc32.Update(crc32.Checksum(b[:16], checksums), checksums, h.pages)
	return h, sum == binary.BigEndian.Uint32(b[16:]), nil
}

// InUse reports whether a journal has a checkpoint, and so the end of a database.
func InUse(name string) (bool, error) {
	_, used, err := open(name)
	return used, err
}

// Restore leads a database back to the last checkpoint, if its journal is in use. The caller
// has locked the database.
func Restore(name string, database *os.File) error {
	h, used, err := open(name)
	if err != nil || !used {
		return err
	}
	info, err := database.Stat()
	if err != nil {
		return err
	}
	if info.Size() < int64(len(h.pages)) {
		return fmt.Errorf("%w: its database is cut", ErrDamaged)
	}
	now := make([]byte, len(h.pages))
	if _, err := database.ReadAt(now, 0); err != nil {
		return err
	}
	if bytes.Equal(now, h.pages) {
		return nil
	}
	for _, at := range []int{0, len(h.pages) / 2} {
		if transaction(now[at:]) < transaction(h.pages[at:]) {
			return fmt.Errorf("%w: it belongs to a later version of its database; after a restore of the database alone, remove it", ErrDamaged)
		}
	}
	if _, err := database.WriteAt(h.pages, 0); err != nil {
		return err
	}
	return database.Sync()
}

// transaction returns the number of the transaction that has written one of the first two pages
// of a database.
func transaction(page []byte) uint64 {
	const at = 64
	if len(page) < at+8 {
		return 0
	}
	return binary.NativeEndian.Uint64(page[at:])
}

func open(name string) (h head, used bool, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	defer f.Close()
	return readHead(f)
}

// Replay calls apply for the entries since the last checkpoint, in their order.
func Replay(name string, apply func(entry []byte) error) error {
	h, used, err := open(name)
	if err != nil || !used {
		return err
	}
	file, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	j := Journal{epoch: h.epoch}
	rest := file[headSize:]
	for number := uint64(1); len(rest) >= Frame; number++ {
		size := int64(binary.BigEndian.Uint32(rest))
		if size == 0 || size > int64(len(rest)-Frame) {
			break
		}
		entry := rest[:Frame+size]
		if binary.BigEndian.Uint64(entry[8:]) != number || binary.BigEndian.Uint32(entry[4:]) != j.checksum(entry) {
			break
		}
		if err := apply(entry[Frame:]); err != nil {
			return err
		}
		rest = rest[len(entry):]
	}
	return nil
}
