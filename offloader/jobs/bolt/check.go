package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt/internal/journal"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/sealed"
)

// Report is what Check has found.
type Report struct {
	Jobs      int64 // that can be read
	Encrypted int64 // of them, records that were not read for lack of their key
	Bytes     int64 // of the database
	Crashed   bool  // the store was not closed
	// Problems are the damages, at most MaxProblems. None: the store can be used.
	Problems []string
	More     int64 // problems that are not listed
}

// MaxProblems is how many problems a report lists.
const MaxProblems = 100

func (r *Report) problem(format string, values ...any) {
	if len(r.Problems) < MaxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, values...))
	} else {
		r.More++
	}
}

// Check reads a whole store that no process uses. Without keys, encrypted records are looked
// at as far as they are not encrypted. The error says why there is no report.
func Check(folder string, keys ...Key) (Report, error) {
	var report Report
	e, err := openStopped(folder, keys)
	if errors.Is(err, jobs.ErrBroken) {
		report.problem("%v", err)
		return report, nil
	}
	if err != nil {
		return report, err
	}
	defer func() { _ = e.abandon() }()
	c := &checker{e: e, report: &report}
	if err := guarded(func() error { return e.db.View(c.check) }, e.breaks); err != nil {
		report.problem("%v", err)
	}
	return report, nil
}

// openStopped opens the store of an engine that does not run, for reading.
func openStopped(folder string, keys []Key) (e *Engine, err error) {
	e = &Engine{folder: folder}
	e.files = &files{e: e, folder: filepath.Join(folder, spoolName)}
	if len(keys) > 0 {
		if e.keys, err = sealed.NewKeys(keys...); err != nil {
			return nil, err
		}
	}
	used, err := journal.InUse(e.journalName())
	if err != nil {
		return nil, err
	}
	// A database with a journal is complete only after it, and is changed as a start does.
	err = guarded(func() error { return e.openDatabase(!used) }, e.breaks)
	if err != nil {
		return nil, errors.Join(err, e.abandon())
	}
	return e, nil
}

// checker compares the tables with each other.
type checker struct {
	e      *Engine
	report *Report
	get    func(table, []byte) []byte
	counts totals
	index  int64 // keys that indexes should have
	due    int64
}

func (c *checker) check(tx *bbolt.Tx) error {
	c.report.Bytes = tx.Size()
	if err := checkTables(c.e.folder, tx, c.e.file); err != nil {
		return err
	}
	c.get = reader(tx)
	c.report.Crashed = !bytes.Equal(c.get(metaTable, usedKey), usedClosed)
	var err error
	c.e.salt, err = c.e.readSalt(c.get(metaTable, saltKey))
	if err != nil && !errors.Is(err, sealed.ErrNoKey) {
		c.report.problem("%v", err)
	}
	for _, t := range []table{openTable, endedTable} {
		records := tx.Bucket(t.name()).Cursor()
		for id, value := records.First(); id != nil; id, value = records.Next() {
			c.record(t, id, value)
		}
	}
	c.compare(tx)
	// bbolt checks in a goroutine, where bad addresses end the process: all of the tables can
	// be read, so there are none.
	for err := range tx.Check() {
		c.report.problem("%v", err)
	}
	return nil
}

func (c *checker) record(t table, id, value []byte) {
	if len(id) != idSize {
		c.report.problem("the table '%s' has a key of %d bytes", t.name(), len(id))
		return
	}
	name := jobs.ID(id).Short()
	h, err := readHead(value)
	if err != nil {
		c.report.problem("job %s: %v", name, err)
		return
	}
	c.report.Jobs++
	switch r, err := c.e.decode(id, value); {
	case errors.Is(err, sealed.ErrNoKey):
		c.report.Encrypted++
	case err != nil:
		c.report.Jobs--
		c.report.problem("%v", err)
	case h.state != r.State:
		c.report.problem("job %s: its head says %s, its record %s", name, h.state, r.State)
	}
	if h.table() != t {
		c.report.problem("job %s: it is %s and in the table '%s'", name, h.state, t.name())
	}
	c.counts.count(&h, 1)
	for _, key := range h.indexKeys(id) {
		c.index++
		if c.get(indexTable, key) == nil {
			c.report.problem("job %s: it is missing in an index", name)
		}
	}
	if h.state.Terminal() {
		c.due++
		if c.get(dueTable, dueKey(h.keepUntil, id)) == nil {
			c.report.problem("job %s: its time of removal is missing", name)
		}
	}
	c.content(name, id, &h)
}

// content sees whether the body and the result of a job are there.
func (c *checker) content(name string, id []byte, h *head) {
	if h.flags&bodyInline != 0 && c.get(bodyTable, id) == nil {
		c.report.problem("job %s: its body is missing", name)
	}
	if h.flags&resultInline != 0 && c.get(resultTable, id) == nil {
		c.report.problem("job %s: its result is missing", name)
	}
	var files []string
	if h.flags&bodyInFile != 0 {
		files = append(files, bodyName(jobs.ID(id)))
	}
	if h.flags&resultInFile != 0 {
		files = append(files, resultName(jobs.ID(id), h.result))
	}
	for _, file := range files {
		f, _, err := c.e.files.open(file)
		if err != nil {
			c.report.problem("job %s: %v", name, err)
			continue
		}
		f.Close()
	}
}

// compare looks for keys without a record, and compares the counters.
func (c *checker) compare(tx *bbolt.Tx) {
	wanted := map[table]int64{indexTable: c.index, dueTable: c.due}
	for t := range tables { // reads all pages
		n := int64(tx.Bucket(t.name()).Stats().KeyN)
		if want, ok := wanted[t]; ok && n != want {
			c.report.problem("the table '%s' has %d keys: want %d", t.name(), n, want)
		}
	}
	var stored totals
	readNumbers(c.get(metaTable, totalsKey), &stored)
	if stored != c.counts {
		c.report.problem("the counters are %+v: want %+v", stored, c.counts)
	}
	for _, t := range []table{bodyTable, resultTable} {
		keys := tx.Bucket(t.name()).Cursor()
		for id, _ := keys.First(); id != nil; id, _ = keys.Next() {
			if value, _ := find(c.get, id); value == nil {
				c.report.problem("the table '%s' has bytes of no job", t.name())
			}
		}
	}
}

// Export writes the records of a store that no process uses, one JSON object a line. It writes
// all that it can read of a damaged store, from pages that are unused too: so there may be
// jobs that were removed. Then it returns an error that wraps jobs.ErrBroken.
func Export(folder string, w io.Writer, keys ...Key) error {
	x := &exporter{out: json.NewEncoder(w), done: map[jobs.ID]bool{}}
	e, err := openStopped(folder, keys)
	if err == nil {
		x.e = e
		err = guarded(func() error { return e.db.View(x.tables) }, e.breaks)
		_ = e.abandon()
	}
	if x.failed != nil || !errors.Is(err, jobs.ErrBroken) {
		return errors.Join(x.failed, err)
	}
	if x.e == nil {
		x.e = &Engine{folder: folder}
		if len(keys) > 0 {
			made, err := sealed.NewKeys(keys...)
			if err != nil {
				return err
			}
			x.e.keys = made
		}
	}
	return errors.Join(err, x.pages(filepath.Join(folder, databaseName)), x.failed)
}

// exporter writes each record once.
type exporter struct {
	e      *Engine
	out    *json.Encoder
	done   map[jobs.ID]bool
	failed error // of writing
}

func (x *exporter) write(r *jobs.Record) error {
	x.done[r.ID] = true
	x.failed = x.out.Encode(r)
	return x.failed
}

// tables writes all records. One that cannot be read does not stop it.
func (x *exporter) tables(tx *bbolt.Tx) error {
	if err := checkTables(x.e.folder, tx, x.e.file); err != nil {
		return err
	}
	var damaged error
	for _, t := range []table{openTable, endedTable} {
		c := tx.Bucket(t.name()).Cursor()
		for id, value := c.First(); id != nil; id, value = c.Next() {
			r, err := x.record(id, value)
			if err != nil {
				damaged = err
				continue
			}
			if err := x.write(r); err != nil {
				return err
			}
		}
	}
	return damaged
}

func (x *exporter) record(id, value []byte) (*jobs.Record, error) {
	if len(id) != idSize {
		return nil, brokenError(x.e.folder, fmt.Sprintf("a job has a name of %d bytes", len(id)))
	}
	return x.e.decode(id, value)
}

// pages looks at all pages for records, without the tree that connects them, and writes the
// newest version of each.
func (x *exporter) pages(name string) error {
	file, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	found := map[jobs.ID]*jobs.Record{}
	for at := 0; at < len(file); at += pageSizeOf(file) {
		leaves(file[at:], func(id, value []byte) {
			if r, err := x.record(id, value); err == nil && !x.done[r.ID] && (found[r.ID] == nil || found[r.ID].Rev < r.Rev) {
				found[r.ID] = r
			}
		})
	}
	for _, r := range found {
		if err := x.write(r); err != nil {
			return err
		}
	}
	return nil
}

// pageSizeOf reads the size of pages from the first page of a database, if it is sound.
func pageSizeOf(file []byte) int {
	const at = 24 // behind the head of the page, a magic number and a version
	if len(file) >= at+4 {
		if size := binary.NativeEndian.Uint32(file[at:]); size >= 1<<10 && size <= 1<<16 && size&(size-1) == 0 {
			return int(size)
		}
	}
	return os.Getpagesize()
}

// leaves calls f for the keys and values of a page, if it is a leaf of bbolt: a head of 16
// bytes with kind and number of elements, the elements, and their data.
func leaves(page []byte, f func(key, value []byte)) {
	const headSize, elementSize, leaf = 16, 16, 2
	if len(page) < headSize || binary.NativeEndian.Uint16(page[8:]) != leaf {
		return
	}
	for i := range int(binary.NativeEndian.Uint16(page[10:])) {
		at := headSize + i*elementSize
		if at+elementSize > len(page) {
			return
		}
		element := page[at:]
		position := int64(binary.NativeEndian.Uint32(element[4:]))
		key := position + int64(binary.NativeEndian.Uint32(element[8:]))
		value := key + int64(binary.NativeEndian.Uint32(element[12:]))
		if value <= int64(len(element)) {
			f(element[position:key], element[key:value])
		}
	}
}
