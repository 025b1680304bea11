package bolt

import (
	"encoding/binary"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// table is a bucket of the database.
type table int

const (
	metaTable   table = iota // schema, state of the engine, totals
	openTable                // ID -> record that has not ended, or whose webhook is pending
	endedTable               // ID -> record otherwise
	dueTable                 // time of removal, ID -> nothing
	keyTable                 // hash of an idempotency key -> ID, its time
	bodyTable                // ID -> small body
	resultTable              // ID -> small result
	tenantTable              // hash of a tenant -> how much is stored for it
	indexTable               // kind of list, its hash or value, ID -> nothing
	tables
)

var tableNames = [tables][]byte{
	[]byte("meta"), []byte("open"), []byte("ended"), []byte("due"), []byte("key"),
	[]byte("body"), []byte("result"), []byte("tenant"), []byte("index"),
}

func (t table) name() []byte { return tableNames[t] }

// fill is how full pages get when they are split. Keys begin with a time, or with a value
// and a time, so later keys rarely go to older pages.
const fill = 0.9

// Keys of metaTable.
var (
	schemaKey  = []byte("schema")
	usedKey    = []byte("clean") // whether a process uses the store
	machineKey = []byte("machine")
	bootsKey   = []byte("boots")
	saltKey    = []byte("salt")
	totalsKey  = []byte("totals")
)

// Values of usedKey.
var (
	usedOpen     = []byte{0}
	usedClosed   = []byte{1}
	usedStopping = []byte{2}
)

// schema is the version of what the tables contain.
const schema = 1

const idSize = len(jobs.ID{})

// hash stands for a text in indexes.
type hash [8]byte

// The kinds of keys of indexTable.
const (
	byTenant = 't'
	byOwner  = 'o'
	byRoute  = 'r'
	byState  = 's'
)

// indexKey is a key of indexTable. Without an ID it is what all keys of the value begin with.
func indexKey(kind byte, value hash, id []byte) []byte {
	b := make([]byte, 0, 1+len(value)+idSize)
	b = append(b, kind)
	b = append(b, value[:]...)
	return append(b, id...)
}

// stateHash is the value of a state in the index.
func stateHash(s jobs.State) hash { return hash{byte(s)} }

// indexed reports whether there is an index of the jobs in this state: of those that have
// ended other than most jobs do.
func indexed(s jobs.State) bool { return s.Terminal() && s != jobs.Succeeded }

// dueKey is a key of dueTable.
func dueKey(keepUntil int64, id []byte) []byte {
	b := make([]byte, 0, 8+idSize)
	b = binary.BigEndian.AppendUint64(b, uint64(keepUntil)^1<<63)
	return append(b, id...)
}

// find returns a stored record.
func find(get func(table, []byte) []byte, id []byte) ([]byte, table) {
	for _, t := range []table{openTable, endedTable} {
		if v := get(t, id); v != nil {
			return v, t
		}
	}
	return nil, 0
}

// holder returns the record that has a key now.
func holder(get func(table, []byte) []byte, key []byte, now int64) (id, record []byte) {
	v := get(keyTable, key)
	if len(v) != idSize+8 || int64(binary.BigEndian.Uint64(v[idSize:])) <= now {
		return nil, nil
	}
	id = v[:idSize]
	record, _ = find(get, id)
	return id, record
}

// reader reads tables in a transaction for reading.
func reader(tx *bbolt.Tx) func(table, []byte) []byte {
	return func(t table, key []byte) []byte { return tx.Bucket(t.name()).Get(key) }
}
