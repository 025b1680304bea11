package memory

import (
	"bytes"
	"slices"
	"strconv"
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// disk is what outlives an engine. Its lock is held for all methods but discard.
type disk struct {
	mu    sync.Mutex
	jobs  map[jobs.ID]*job
	order []jobs.ID // ascending
	keys  map[[32]byte]jobs.ID
	files map[string]*file // bodies
	names int              // of files so far
	// stopping: the process that uses the disk is about to end.
	stopping bool
}

func newDisk() *disk {
	return &disk{
		jobs:  make(map[jobs.ID]*job),
		keys:  make(map[[32]byte]jobs.ID),
		files: make(map[string]*file),
	}
}

// job is a stored record with its bytes.
type job struct {
	stored  *jobs.Record // changed by write alone
	key     *jobs.Key    // as it was accepted, or nil
	body    jobs.Body    // with File or Inline
	inline  []byte       // result
	results map[attempt]*file
}

// attempt is the name of a file with a result.
type attempt struct{ generation, number int }

// record returns a copy that belongs to the caller.
func (j *job) record() *jobs.Record { return clone(j.stored) }

// write stores a version of the record.
func (j *job) write(r *jobs.Record, rev uint64) {
	j.stored = clone(r)
	j.stored.Rev = rev
}

func (j *job) open() bool {
	hook := j.stored.Hook
	return !j.stored.State.Terminal() || hook != nil && hook.State == jobs.HookPending
}

func (j *job) resultSize() int64 {
	if j.stored.Response == nil {
		return 0
	}
	return j.stored.Response.Size
}

func (d *disk) find(id jobs.ID) (*job, error) {
	if j, ok := d.jobs[id]; ok {
		return j, nil
	}
	return nil, jobs.ErrUnknown
}

// version returns the job if its stored version is rev.
func (d *disk) version(id jobs.ID, rev uint64) (*job, error) {
	j, err := d.find(id)
	if err == nil && j.stored.Rev != rev {
		return nil, jobs.ErrStale
	}
	return j, err
}

// known returns the record that has the key now.
func (d *disk) known(key [32]byte, o Options) (*jobs.Record, error) {
	id, ok := d.keys[key]
	if !ok || !d.jobs[id].key.Until.After(o.Now()) {
		return nil, jobs.ErrUnknown
	}
	return d.jobs[id].record(), nil
}

func (d *disk) accept(r *jobs.Record, body jobs.Body, o Options) (earlier *jobs.Record, err error) {
	if r.Key != nil {
		if earlier, err := d.known(r.Key.Hash, o); err == nil {
			return earlier, nil
		}
	}
	if _, ok := d.jobs[r.ID]; ok {
		return nil, jobs.ErrStale
	}
	if o.Limit > 0 && d.bytes()+body.Size > o.Limit {
		return nil, jobs.ErrFull
	}
	j := &job{body: body, results: make(map[attempt]*file)}
	j.write(r, 1)
	j.body.Inline = bytes.Clone(body.Inline)
	if r.Key != nil {
		j.key = j.stored.Key
		d.keys[j.key.Hash] = r.ID
	}
	d.jobs[r.ID] = j
	d.order = slices.Insert(d.order, d.position(r.ID), r.ID)
	return nil, nil
}

func (d *disk) update(r *jobs.Record, inline []byte) error {
	j, err := d.version(r.ID, r.Rev)
	if err != nil {
		return err
	}
	j.write(r, r.Rev+1)
	if inline != nil {
		j.inline = bytes.Clone(inline)
	}
	return nil
}

func (d *disk) remove(id jobs.ID, rev uint64) error {
	j, err := d.version(id, rev)
	if err != nil {
		return err
	}
	if j.key != nil && d.keys[j.key.Hash] == id {
		delete(d.keys, j.key.Hash)
	}
	delete(d.files, j.body.File)
	delete(d.jobs, id)
	at := d.position(id)
	d.order = slices.Delete(d.order, at, at+1)
	return nil
}

// position returns where the ID is in the order, or belongs.
func (d *disk) position(id jobs.ID) int {
	at, _ := slices.BinarySearchFunc(d.order, id, compare)
	return at
}

func compare(a, b jobs.ID) int { return bytes.Compare(a[:], b[:]) }

// create returns a file for a body, with its name.
func (d *disk) create() (string, *file) {
	d.names++
	name := "body-" + strconv.Itoa(d.names)
	f := &file{}
	d.files[name] = f
	return name, f
}

// discard removes the file of a body that was not accepted.
func (d *disk) discard(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, name)
}

// recover removes files that belong to no record, and the bytes that were not synced if the machine has
// crashed.
func (d *disk) recover(crashed bool, cut func(unsynced int) int) {
	used := make(map[string]bool)
	for _, id := range d.order {
		j := d.jobs[id]
		used[j.body.File] = true
		for _, f := range j.results {
			if crashed && cut != nil {
				f.cut(cut)
			}
		}
	}
	for name := range d.files {
		if !used[name] {
			delete(d.files, name)
		}
	}
}
