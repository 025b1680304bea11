package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// change changes the database.
type change interface {
	// apply changes the transaction, unless it returns an error.
	apply(b *batch) error
}

// accept stores a new record.
type accept struct {
	id    []byte
	head  head
	value []byte    // with room for the head
	body  []byte    // as it is stored, nil without one
	file  jobs.Body // under the name of the job
	until int64     // of the key
	now   int64

	earlier   []byte // the record that has the key
	earlierID []byte
}

// Accept stores a new record and its body.
func (e *Engine) Accept(ctx context.Context, r *jobs.Record, body jobs.Body) (*jobs.Record, error) {
	if err := e.enter(); err != nil {
		e.files.discard(body)
		return nil, err
	}
	defer e.life.RUnlock()
	a, err := e.newAccept(r, body)
	if err != nil {
		e.files.discard(body)
		return nil, err
	}
	switch err := e.writer.do(ctx, a); {
	case err != nil:
		e.files.discard(a.file)
		return nil, err
	case a.earlier != nil:
		e.files.discard(a.file)
		return e.decode(a.earlierID, a.earlier)
	}
	e.files.settle(a.file)
	r.Rev = 1
	return nil, nil
}

func (e *Engine) newAccept(r *jobs.Record, body jobs.Body) (*accept, error) {
	if err := e.room.forAccept(int64(len(body.Inline))); err != nil {
		return nil, err
	}
	a := &accept{id: slices.Clone(r.ID[:]), head: e.headOf(r, 1), now: time.Now().UnixNano()}
	a.head.bodySize = int64(len(body.Inline))
	switch {
	case body.File != "":
		a.head.bodySize = body.Size
		a.head.flags |= bodyInFile
		adopted, err := e.files.adopt(body, r.ID)
		if err != nil {
			return nil, err
		}
		a.file = adopted
	case len(body.Inline) > 0:
		a.head.flags |= bodyInline
		a.body = e.seal(a.id, body.Inline, bodyTable)
	}
	if r.Key != nil {
		a.until = nanoseconds(r.Key.Until)
	}
	a.value = e.encode(r, &a.head)
	return a, nil
}

func (a *accept) apply(b *batch) error {
	a.earlier, a.earlierID = nil, nil
	if a.head.key != nil {
		if id, earlier := holder(b.get, a.head.key, a.now); earlier != nil {
			a.earlier, a.earlierID = slices.Clone(earlier), slices.Clone(id)
			return nil
		}
	}
	if stored, _ := find(b.get, a.id); stored != nil {
		return fmt.Errorf("job %s is stored already: %w", jobs.ID(a.id).Short(), jobs.ErrStale)
	}
	if a.head.key != nil {
		b.put(keyTable, a.head.key, binary.BigEndian.AppendUint64(slices.Clone(a.id), uint64(a.until)))
	}
	a.head.write(a.value)
	b.put(a.head.table(), a.id, a.value)
	if a.body != nil {
		b.put(bodyTable, a.id, a.body)
	}
	b.index(&a.head, a.id)
	b.count(&a.head, 1)
	b.renamed = b.renamed || a.head.flags&bodyInFile != 0
	return nil
}

// update stores a version of a record.
type update struct {
	id     []byte
	head   head
	value  []byte
	inline []byte // as it is stored, nil: none
	// inFile: the record has a complete response, whose bytes are in a file.
	hasResponse, inFile bool

	// Set by apply:
	ended bool     // there is a result, or the job has ended
	stale []string // a file that has no use
}

// Update stores a version of a record.
func (e *Engine) Update(ctx context.Context, r *jobs.Record, inline []byte) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.life.RUnlock()
	u := &update{id: slices.Clone(r.ID[:]), head: e.headOf(r, r.Rev+1)}
	if inline != nil {
		u.inline = e.seal(u.id, inline, resultTable)
	}
	if r.Response != nil {
		u.hasResponse, u.head.resultSize = true, r.Response.Size
		u.inFile = inline == nil && r.Response.Complete && e.files.hasResult(r.ID, u.head.attempt)
	}
	u.value = e.encode(r, &u.head)
	if err := e.writer.do(ctx, u); err != nil {
		return err
	}
	r.Rev++
	if u.ended {
		kept := attempt{}
		if u.head.flags&resultInFile != 0 {
			kept = u.head.result
		}
		e.files.dropResults(r.ID, kept)
	}
	e.files.remove(u.stale...)
	return nil
}

func (u *update) apply(b *batch) error {
	value, from := find(b.get, u.id)
	if value == nil {
		return jobs.ErrUnknown
	}
	old, err := readHead(value)
	switch {
	case err != nil:
		return b.e.damaged(u.id, err)
	case old.rev+1 != u.head.rev:
		return jobs.ErrStale
	}
	h := &u.head
	h.flags |= old.flags & (bodyInline | bodyInFile)
	h.bodySize = old.bodySize
	u.setResult(&old)
	if !bytes.Equal(old.key, h.key) {
		b.delKey(&old, u.id)
	}
	h.write(u.value)
	to := h.table()
	if from != to {
		b.del(from, u.id)
	}
	b.put(to, u.id, u.value)
	switch {
	case u.inline != nil:
		b.put(resultTable, u.id, u.inline)
	case old.flags&resultInline != 0 && h.flags&resultInline == 0:
		b.del(resultTable, u.id)
	}
	b.reindex(&old, h, u.id)
	b.count(&old, -1)
	b.count(h, 1)
	u.stale = nil
	if old.flags&resultInFile != 0 && (h.flags&resultInFile == 0 || h.result != old.result) {
		u.stale = []string{resultName(jobs.ID(u.id), old.result)}
	}
	u.ended = h.state.Terminal() || u.inline != nil || u.inFile
	return nil
}

// setResult sets which result is stored: that of the record's response.
func (u *update) setResult(old *head) {
	h := &u.head
	stored := old.flags & (resultInline | resultInFile)
	h.flags &^= resultInline | resultInFile
	h.result = h.attempt
	switch {
	case u.inline != nil:
		h.flags |= resultInline
	case stored != 0 && old.result == h.attempt && u.hasResponse:
		h.flags |= stored
	case u.inFile:
		h.flags |= resultInFile
	}
}

// removal removes a record and all that belongs to it.
type removal struct {
	id    []byte
	rev   uint64
	files []string // set by apply
}

// Remove removes a record.
func (e *Engine) Remove(ctx context.Context, id jobs.ID, rev uint64) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.life.RUnlock()
	r := &removal{id: slices.Clone(id[:]), rev: rev}
	if err := e.writer.do(ctx, r); err != nil {
		return err
	}
	e.files.dropResults(id, attempt{})
	e.files.remove(r.files...)
	return nil
}

func (r *removal) apply(b *batch) error {
	value, from := find(b.get, r.id)
	if value == nil {
		return jobs.ErrUnknown
	}
	h, err := readHead(value)
	switch {
	case err != nil:
		return b.e.damaged(r.id, err)
	case h.rev != r.rev:
		return jobs.ErrStale
	}
	id := jobs.ID(r.id)
	b.delKey(&h, r.id)
	b.unindex(&h, r.id)
	b.count(&h, -1)
	if h.flags&bodyInline != 0 {
		b.del(bodyTable, r.id)
	}
	if h.flags&resultInline != 0 {
		b.del(resultTable, r.id)
	}
	r.files = nil
	if h.flags&bodyInFile != 0 {
		r.files = append(r.files, bodyName(id))
	}
	if h.flags&resultInFile != 0 {
		r.files = append(r.files, resultName(id, h.result))
	}
	b.del(from, r.id)
	return nil
}

// stopping stores that the process is about to end.
type stopping struct{}

// Stopping stores that the process is about to end.
func (e *Engine) Stopping(ctx context.Context) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.life.RUnlock()
	return e.writer.do(ctx, stopping{})
}

func (stopping) apply(b *batch) error {
	b.put(metaTable, usedKey, usedStopping)
	return nil
}

// delKey removes the key of a record, unless it has gone to a later job.
func (b *batch) delKey(h *head, id []byte) {
	if h.key == nil {
		return
	}
	if owner := b.get(keyTable, h.key); len(owner) >= idSize && bytes.Equal(owner[:idSize], id) {
		b.del(keyTable, h.key)
	}
}
