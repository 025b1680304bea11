package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"iter"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Get returns a record.
func (e *Engine) Get(_ context.Context, id jobs.ID) (r *jobs.Record, err error) {
	err = e.view(func(tx *bbolt.Tx) error {
		value, _ := find(reader(tx), id[:])
		if value == nil {
			return jobs.ErrUnknown
		}
		r, err = e.decode(id[:], value)
		return err
	})
	return r, err
}

// Known returns the record that has a key.
func (e *Engine) Known(_ context.Context, key [32]byte) (r *jobs.Record, err error) {
	err = e.view(func(tx *bbolt.Tx) error {
		id, value := holder(reader(tx), key[:], time.Now().UnixNano())
		if value == nil {
			return jobs.ErrUnknown
		}
		r, err = e.decode(id, value)
		return err
	})
	return r, err
}

// readAhead is how many records are read in one transaction.
const readAhead = 256

// Open lists the records that have not ended, or whose webhook is pending.
func (e *Engine) Open(ctx context.Context) iter.Seq2[*jobs.Record, error] {
	return func(yield func(*jobs.Record, error) bool) {
		var next []byte
		for {
			var records []*jobs.Record
			var errs []error
			err := ctx.Err()
			if err == nil {
				records, errs, next, err = e.openAfter(next)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for i, r := range records {
				if !yield(r, errs[i]) {
					return
				}
			}
			if next == nil {
				return
			}
		}
	}
}

// openAfter reads open records from an ID on, and returns the ID of the next one.
func (e *Engine) openAfter(from []byte) (records []*jobs.Record, errs []error, next []byte, err error) {
	err = e.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(openTable.name()).Cursor()
		id, value := c.Seek(from)
		for ; id != nil && len(records) < readAhead; id, value = c.Next() {
			r, err := e.decode(id, value)
			records, errs = append(records, r), append(errs, err)
		}
		next = bytes.Clone(id)
		return nil
	})
	return records, errs, next, err
}

// Due returns records that have ended and are to be removed. One that cannot be read is left
// out, so that it does not keep others.
func (e *Engine) Due(_ context.Context, now time.Time, limit int) (due []*jobs.Record, err error) {
	err = e.view(func(tx *bbolt.Tx) error {
		get := reader(tx)
		c := tx.Bucket(dueTable.name()).Cursor()
		last := uint64(nanoseconds(now)) ^ 1<<63
		for key, _ := c.First(); key != nil && len(due) < limit; key, _ = c.Next() {
			if len(key) != 8+idSize || binary.BigEndian.Uint64(key) > last {
				break
			}
			if value, _ := find(get, key[8:]); value != nil {
				if r, err := e.decode(key[8:], value); err == nil {
					due = append(due, r)
				}
			}
		}
		return nil
	})
	return due, err
}

// Usage returns how much is stored.
func (e *Engine) Usage(context.Context) (u jobs.Usage, err error) {
	if err := e.enter(); err != nil {
		return u, err
	}
	defer e.life.RUnlock()
	info, err := e.file.Stat()
	if err != nil {
		return u, err
	}
	t := e.totals.Load()
	u = jobs.Usage{
		States: map[jobs.State]int64{}, FileBytes: info.Size(), FreeBytes: max(0, info.Size()-e.used.Load()),
		BodyBytes: t.bodyBytes, ResultSize: t.resultBytes, Limit: e.room.maxBytes,
	}
	for s, n := range t.jobs {
		if n != 0 {
			u.Jobs += n
			u.States[jobs.State(s)] = n
		}
	}
	return u, nil
}

// TenantUsage returns how much is stored for a tenant.
func (e *Engine) TenantUsage(_ context.Context, tenant string) (u jobs.TenantUsage, err error) {
	err = e.view(func(tx *bbolt.Tx) error {
		t := e.tenantTotals(tx, tenant)
		u = jobs.TenantUsage{Open: t.open, Jobs: t.jobs, Bytes: t.bytes}
		return nil
	})
	return u, err
}

func (e *Engine) tenantTotals(tx *bbolt.Tx, tenant string) (t tenantTotals) {
	name := e.hash(byTenant, tenant)
	readNumbers(tx.Bucket(tenantTable.name()).Get(name[:]), &t)
	return t
}

// scanned is how many keys a page may look at in one transaction.
const scanned = 4096

// List returns a page of records, the newest first.
func (e *Engine) List(ctx context.Context, q jobs.Query) (page jobs.Page, err error) {
	l := &lister{e: e, q: q, before: bytes.Clone(q.Before[:])}
	if q.Before.IsZero() {
		l.before = bytes.Repeat([]byte{0xff}, idSize)
	}
	if q.Tenant != "" {
		l.tenant = e.hash(byTenant, q.Tenant)
	}
	if q.Owner != ([32]byte{}) {
		l.owner = e.hash(byOwner, string(q.Owner[:]))
	}
	l.route = e.hash(byRoute, q.Route)
	for done := false; !done && err == nil; {
		if err = ctx.Err(); err == nil {
			err = e.view(func(tx *bbolt.Tx) error {
				done, err = l.more(tx)
				return err
			})
		}
	}
	if err != nil {
		return jobs.Page{}, err
	}
	return l.page, nil
}

// lister collects a page.
type lister struct {
	e                    *Engine
	q                    jobs.Query
	tenant, owner, route hash
	before               []byte // the ID where the next transaction continues
	page                 jobs.Page
}

// more continues the page, and reports whether it is complete.
func (l *lister) more(tx *bbolt.Tx) (done bool, err error) {
	get := reader(tx)
	ids := newestFirst(l.sources(tx), l.before)
	for range scanned {
		id := ids.next()
		if id == nil {
			return true, nil
		}
		l.before = append(l.before[:0], id...)
		value, _ := find(get, id)
		if value == nil || !l.mayMatch(value) {
			continue
		}
		r, err := l.e.decode(id, value)
		if err != nil {
			return false, err
		}
		if !l.matches(r) {
			continue
		}
		if len(l.page.Records) >= max(1, l.q.Limit) {
			l.page.More = true
			return true, nil
		}
		l.page.Records = append(l.page.Records, r)
	}
	return false, nil
}

// mayMatch looks at the head alone. A damaged record may match, so that it shows.
func (l *lister) mayMatch(value []byte) bool {
	h, err := readHead(value)
	if err != nil {
		return true
	}
	return (len(l.q.States) == 0 || slices.Contains(l.q.States, h.state)) &&
		(l.q.Tenant == "" || h.tenant == l.tenant) &&
		(l.q.Owner == [32]byte{} || h.owner == l.owner) &&
		(l.q.Route == "" || h.route == l.route)
}

// matches excludes equal hashes of different texts.
func (l *lister) matches(r *jobs.Record) bool {
	return (l.q.Tenant == "" || r.Tenant == l.q.Tenant) &&
		(l.q.Owner == [32]byte{} || r.Owner == l.q.Owner) &&
		(l.q.Route == "" || r.Route == l.q.Route)
}

// sources returns where the IDs of the page are: the fewest of all that could match.
func (l *lister) sources(tx *bbolt.Tx) []*source {
	t := l.e.totals.Load()
	index := func(kind byte, value hash) *source {
		return &source{c: tx.Bucket(indexTable.name()).Cursor(), prefix: indexKey(kind, value, nil)}
	}
	ofStates := len(l.q.States) > 0 && !slices.ContainsFunc(l.q.States, func(s jobs.State) bool { return s == jobs.Succeeded })
	inStates := t.ofStates(l.q.States)
	switch {
	case l.q.Owner != [32]byte{}:
		return []*source{index(byOwner, l.owner)}
	case l.q.Tenant != "" && (!ofStates || l.e.tenantTotals(tx, l.q.Tenant).jobs <= inStates):
		return []*source{index(byTenant, l.tenant)}
	case ofStates:
		var all []*source
		for _, s := range l.q.States {
			if indexed(s) {
				all = append(all, index(byState, stateHash(s)))
			}
		}
		return append(all, &source{c: tx.Bucket(openTable.name()).Cursor()})
	case l.q.Route != "":
		return []*source{index(byRoute, l.route)}
	}
	return []*source{{c: tx.Bucket(openTable.name()).Cursor()}, {c: tx.Bucket(endedTable.name()).Cursor()}}
}

// source has IDs in their order, behind a prefix.
type source struct {
	c      *bbolt.Cursor
	prefix []byte
	id     []byte // the current one, nil at the end
}

// seek goes to the last ID before one.
func (s *source) seek(before []byte) {
	if key, _ := s.c.Seek(append(bytes.Clone(s.prefix), before...)); key == nil {
		s.set(s.c.Last())
	} else {
		s.set(s.c.Prev())
	}
}

func (s *source) set(key, _ []byte) {
	s.id = nil
	if len(key) == len(s.prefix)+idSize && bytes.HasPrefix(key, s.prefix) {
		s.id = key[len(s.prefix):]
	}
}

// merge has the IDs of several sources.
type merge []*source

func newestFirst(sources []*source, before []byte) merge {
	for _, s := range sources {
		s.seek(before)
	}
	return sources
}

// next returns the newest ID that was not returned, nil at the end.
func (m merge) next() (id []byte) {
	for _, s := range m {
		if bytes.Compare(s.id, id) > 0 {
			id = s.id
		}
	}
	for _, s := range m {
		if id != nil && bytes.Equal(s.id, id) {
			s.set(s.c.Prev())
		}
	}
	return id
}
