package bolt

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func FuzzStoredRecord(f *testing.F) {
	e := &Engine{folder: "store", salt: make([]byte, 16)}
	r := &jobs.Record{State: jobs.Queued, Route: "report", Tenant: "acme", Owner: [32]byte{1}, Key: &jobs.Key{Hash: [32]byte{2}}}
	h := e.headOf(r, 7)
	value := e.encode(r, &h)
	h.write(value)
	f.Add(value)
	f.Add([]byte{sealedValue})
	f.Fuzz(func(t *testing.T, value []byte) {
		h, err := readHead(value)
		if err != nil {
			return
		}
		again := bytes.Clone(value)
		h.write(again)
		if got, err := readHead(again); err != nil || !reflect.DeepEqual(got, h) {
			t.Fatalf("%+v, %v: want %+v", got, err, h)
		}
		var id jobs.ID
		if r, err := e.decode(id[:], value); err == nil && r.Rev != h.rev {
			t.Fatalf("%+v", r)
		}
	})
}
