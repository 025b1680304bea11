package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/recordcodec"
)

// head is the beginning of a stored record: what the engine needs of it without reading and
// decrypting all of it.
type head struct {
	state      jobs.State
	flags      flags
	rev        uint64
	keepUntil  int64 // nanoseconds
	bodySize   int64
	resultSize int64 // of the stored result
	attempt    attempt
	result     attempt // whose result is stored
	tenant     hash
	owner      hash
	route      hash
	key        []byte // hash of the idempotency key, nil without one
}

// attempt identifies an attempt of a job.
type attempt struct{ generation, number uint32 }

func attemptOf(r *jobs.Record) attempt {
	return attempt{uint32(r.Generation), uint32(r.Attempt)}
}

type flags uint8

const (
	hookPending flags = 1 << iota
	bodyInline
	bodyInFile
	resultInline
	resultInFile
	hasTenant
	hasOwner
	hasKey
)

// Versions of stored values: their first byte.
const (
	plainValue  = 1
	sealedValue = 2
)

const headSize = 3 + 4*8 + 4*4 + 3*8

const keySize = sha256.Size

// table is where the record is.
func (h *head) table() table {
	if h.state.Terminal() && h.flags&hookPending == 0 {
		return endedTable
	}
	return openTable
}

// size is the length of the head.
func (h *head) size() int { return headSize + len(h.key) }

// write fills the beginning of a value, after its version.
func (h *head) write(value []byte) {
	value[1], value[2] = byte(h.state), byte(h.flags)
	b := value[3:3]
	for _, n := range []uint64{h.rev, uint64(h.keepUntil), uint64(h.bodySize), uint64(h.resultSize)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	for _, n := range []uint32{h.attempt.generation, h.attempt.number, h.result.generation, h.result.number} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	for _, name := range []hash{h.tenant, h.owner, h.route} {
		b = append(b, name[:]...)
	}
	copy(value[headSize:], h.key)
}

// readHead reads the head of a stored value.
func readHead(value []byte) (h head, err error) {
	if len(value) < headSize || value[0] != plainValue && value[0] != sealedValue {
		return h, fmt.Errorf("a record of %d bytes has no head", len(value))
	}
	h.state, h.flags = jobs.State(value[1]), flags(value[2])
	if h.state.String() == "" {
		return h, fmt.Errorf("unknown state %d of a record", h.state)
	}
	b := value[3:]
	long := func() uint64 {
		n := binary.BigEndian.Uint64(b)
		b = b[8:]
		return n
	}
	short := func() uint32 {
		n := binary.BigEndian.Uint32(b)
		b = b[4:]
		return n
	}
	h.rev, h.keepUntil, h.bodySize, h.resultSize = long(), int64(long()), int64(long()), int64(long())
	h.attempt = attempt{short(), short()}
	h.result = attempt{short(), short()}
	for _, p := range []*hash{&h.tenant, &h.owner, &h.route} {
		b = b[copy(p[:], b):]
	}
	if h.flags&hasKey != 0 {
		if len(b) < keySize {
			return h, fmt.Errorf("a record of %d bytes has no key", len(value))
		}
		h.key = b[:keySize]
	}
	return h, nil
}

// nanoseconds of a time of removal: jobs without one are due first.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return math.MinInt64
	}
	return t.UnixNano()
}

// hash returns what stands for a text in indexes. The salt is secret if the store is
// encrypted, so the hash does not show the text.
func (e *Engine) hash(kind byte, text string) hash {
	b := make([]byte, 0, 128)
	b = append(append(append(b, e.salt...), kind), text...)
	sum := sha256.Sum256(b)
	return hash(sum[:8])
}

// headOf returns the head of a record, as far as the record alone decides.
func (e *Engine) headOf(r *jobs.Record, rev uint64) head {
	h := head{
		state: r.State, rev: rev, keepUntil: nanoseconds(r.KeepUntil), bodySize: r.BodySize,
		attempt: attemptOf(r), route: e.hash(byRoute, r.Route),
	}
	if r.Hook != nil && r.Hook.State == jobs.HookPending {
		h.flags |= hookPending
	}
	if r.Tenant != "" {
		h.flags |= hasTenant
	}
	h.tenant = e.hash(byTenant, r.Tenant)
	if r.Owner != ([32]byte{}) {
		h.flags |= hasOwner
		h.owner = e.hash(byOwner, string(r.Owner[:]))
	}
	if r.Key != nil {
		h.flags |= hasKey
		h.key = r.Key.Hash[:]
	}
	return h
}

// encode returns a value with room for the head.
func (e *Engine) encode(r *jobs.Record, h *head) []byte {
	value := make([]byte, h.size(), h.size()+1024)
	if e.keys == nil {
		value[0] = plainValue
		return recordcodec.Append(value, r)
	}
	value[0] = sealedValue
	return e.keys.Seal(value, recordcodec.Append(nil, r), recordPlace(r.ID[:], h.rev))
}

// recordPlace is to what an encrypted record is bound.
func recordPlace(id []byte, rev uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte("record"), id...), rev)
}

// decode reads a stored record.
func (e *Engine) decode(id, value []byte) (*jobs.Record, error) {
	h, err := readHead(value)
	if err != nil {
		return nil, e.damaged(id, err)
	}
	stored := value[h.size():]
	if value[0] == sealedValue {
		if stored, err = e.keys.Open(stored, recordPlace(id, h.rev)); err != nil {
			return nil, e.damaged(id, err)
		}
	}
	r, err := recordcodec.Decode(stored)
	if err != nil {
		return nil, e.damaged(id, err)
	}
	r.ID, r.Rev = jobs.ID(id), h.rev
	return r, nil
}

// damaged is the error of one job whose data cannot be read.
func (e *Engine) damaged(id []byte, err error) error {
	return fmt.Errorf("job %s: %w", jobs.ID(id).Short(), brokenError(e.folder, err))
}

// seal returns small bytes as they are stored.
func (e *Engine) seal(id []byte, plain []byte, t table) []byte {
	if e.keys == nil {
		return append([]byte{plainValue}, plain...)
	}
	return e.keys.Seal([]byte{sealedValue}, plain, bytesPlace(id, t))
}

func bytesPlace(id []byte, t table) []byte { return slices.Concat(t.name(), id) }

// unseal returns small bytes.
func (e *Engine) unseal(id, value []byte, t table) ([]byte, error) {
	switch {
	case len(value) > 0 && value[0] == plainValue:
		return append([]byte(nil), value[1:]...), nil
	case len(value) > 0 && value[0] == sealedValue:
		plain, err := e.keys.Open(value[1:], bytesPlace(id, t))
		if err != nil {
			return nil, e.damaged(id, err)
		}
		return plain, nil
	}
	return nil, e.damaged(id, fmt.Errorf("the %s is missing", t.name()))
}
