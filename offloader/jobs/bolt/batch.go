package bolt

import (
	"bytes"
	"encoding/binary"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt/internal/journal"
)

// batch is a transaction of several changes.
type batch struct {
	e       *Engine
	tx      *bbolt.Tx
	buckets [tables]*bbolt.Bucket
	totals  totals
	tenants map[hash]*tenantTotals
	changed bool
	log     []byte // puts and deletes for the journal, nil without one
	renamed bool   // names of files have changed
	err     error
}

func (e *Engine) newBatch(tx *bbolt.Tx) *batch {
	b := &batch{e: e, tx: tx, totals: *e.totals.Load()}
	if e.journal != nil {
		b.log = make([]byte, journal.Frame, 4<<10)
	}
	return b
}

func (b *batch) bucket(t table) *bbolt.Bucket {
	if b.buckets[t] == nil {
		b.buckets[t] = b.tx.Bucket(t.name())
		b.buckets[t].FillPercent = fill
	}
	return b.buckets[t]
}

func (b *batch) get(t table, key []byte) []byte { return b.bucket(t).Get(key) }

// put stores a value, which must not change before the end of the transaction.
func (b *batch) put(t table, key, value []byte) {
	b.changed = true
	if b.log != nil {
		b.log = appendPut(b.log, t, key, value)
	}
	if err := b.bucket(t).Put(key, value); err != nil && b.err == nil {
		b.err = err
	}
}

func (b *batch) del(t table, key []byte) {
	b.changed = true
	if b.log != nil {
		b.log = appendDelete(b.log, t, key)
	}
	if err := b.bucket(t).Delete(key); err != nil && b.err == nil {
		b.err = err
	}
}

// count adds a record to the counters, or takes it off.
func (b *batch) count(h *head, sign int64) {
	b.totals.count(h, sign)
	t := b.tenants[h.tenant]
	if t == nil {
		t = &tenantTotals{}
		readNumbers(b.get(tenantTable, h.tenant[:]), t)
		if b.tenants == nil {
			b.tenants = map[hash]*tenantTotals{}
		}
		b.tenants[h.tenant] = t
	}
	t.count(h, sign)
}

// index adds the keys by which a record is listed.
func (b *batch) index(h *head, id []byte) {
	for _, k := range h.indexKeys(id) {
		b.put(indexTable, k, nil)
	}
	if h.state.Terminal() {
		b.put(dueTable, dueKey(h.keepUntil, id), nil)
	}
}

// reindex changes the keys by which a record is listed.
func (b *batch) reindex(old, h *head, id []byte) {
	before, after := old.indexKeys(id), h.indexKeys(id)
	for _, k := range before {
		if !contains(after, k) {
			b.del(indexTable, k)
		}
	}
	for _, k := range after {
		if !contains(before, k) {
			b.put(indexTable, k, nil)
		}
	}
	wasDue, isDue := old.state.Terminal(), h.state.Terminal()
	if wasDue && isDue && old.keepUntil == h.keepUntil {
		return
	}
	if wasDue {
		b.del(dueTable, dueKey(old.keepUntil, id))
	}
	if isDue {
		b.put(dueTable, dueKey(h.keepUntil, id), nil)
	}
}

// unindex removes the keys by which a record is listed.
func (b *batch) unindex(h *head, id []byte) {
	for _, k := range h.indexKeys(id) {
		b.del(indexTable, k)
	}
	if h.state.Terminal() {
		b.del(dueTable, dueKey(h.keepUntil, id))
	}
}

func contains(keys [][]byte, key []byte) bool {
	for _, k := range keys {
		if bytes.Equal(k, key) {
			return true
		}
	}
	return false
}

func (h *head) indexKeys(id []byte) [][]byte {
	keys := append(make([][]byte, 0, 4), indexKey(byRoute, h.route, id))
	if h.flags&hasTenant != 0 {
		keys = append(keys, indexKey(byTenant, h.tenant, id))
	}
	if h.flags&hasOwner != 0 {
		keys = append(keys, indexKey(byOwner, h.owner, id))
	}
	if indexed(h.state) {
		keys = append(keys, indexKey(byState, stateHash(h.state), id))
	}
	return keys
}

// end writes the counters.
func (b *batch) end() error {
	for name, t := range b.tenants {
		if *t == (tenantTotals{}) {
			b.del(tenantTable, name[:])
		} else {
			b.put(tenantTable, append([]byte(nil), name[:]...), writeNumbers(t))
		}
	}
	b.put(metaTable, totalsKey, writeNumbers(&b.totals))
	return b.err
}

// totals is how much is stored. It is written with each transaction, so it needs no scan.
type totals struct {
	jobs        [16]int64 // by state
	bodyBytes   int64
	resultBytes int64
	fileBytes   int64 // of both, in files
}

// tenantTotals is how much is stored for a tenant.
type tenantTotals struct{ open, jobs, bytes int64 }

// each calls f for all numbers in their stored order.
func (t *totals) each(f func(*int64)) {
	for i := range t.jobs {
		f(&t.jobs[i])
	}
	f(&t.bodyBytes)
	f(&t.resultBytes)
	f(&t.fileBytes)
}

func (t *tenantTotals) each(f func(*int64)) {
	f(&t.open)
	f(&t.jobs)
	f(&t.bytes)
}

// numbers are counters that are stored together.
type numbers interface{ each(f func(*int64)) }

func writeNumbers(n numbers) (b []byte) {
	n.each(func(p *int64) { b = binary.AppendVarint(b, *p) })
	return b
}

// readNumbers reads what writeNumbers has written; nothing is zero.
func readNumbers(b []byte, n numbers) {
	n.each(func(p *int64) {
		v, size := binary.Varint(b)
		b = b[max(0, size):]
		*p = v
	})
}

// count adds a record, or takes it off with a sign of -1.
func (t *totals) count(h *head, sign int64) {
	t.jobs[h.state] += sign
	t.bodyBytes += sign * h.bodySize
	t.resultBytes += sign * h.resultSize
	t.fileBytes += sign * h.fileBytes()
}

func (t *tenantTotals) count(h *head, sign int64) {
	t.jobs += sign
	t.bytes += sign * (h.bodySize + h.resultSize)
	if !h.state.Terminal() {
		t.open += sign
	}
}

// fileBytes returns how much of the job is in files.
func (h *head) fileBytes() (n int64) {
	if h.flags&bodyInFile != 0 {
		n += h.bodySize
	}
	if h.flags&resultInFile != 0 {
		n += h.resultSize
	}
	return n
}

// ofStates returns the number of records in these states, and of all without a state.
func (t *totals) ofStates(states []jobs.State) (n int64) {
	if len(states) == 0 {
		states = jobs.States()
	}
	for _, s := range states {
		n += t.jobs[s]
	}
	return n
}
