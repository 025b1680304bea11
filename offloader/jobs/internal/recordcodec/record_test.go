package recordcodec_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/recordcodec"
)

// fill sets everything below v to values that differ from each other.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(*n << (*n % 40))
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	case reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(*n*1e6, *n).UTC()))
			return
		}
		for _, field := range v.Fields() {
			fill(field, n)
		}
	default:
		panic(v.Kind())
	}
}

func full() *jobs.Record {
	var r jobs.Record
	var n int64
	fill(reflect.ValueOf(&r).Elem(), &n)
	r.ID, r.Rev = jobs.ID{}, 0
	return &r
}

func TestEachFieldOfARecordIsKept(t *testing.T) {
	for _, want := range []*jobs.Record{full(), {}} {
		got, err := recordcodec.Decode(recordcodec.Append(nil, want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
}

func TestCutRecordsAreMalformed(t *testing.T) {
	whole := recordcodec.Append(nil, full())
	ends := 0
	for n := range whole {
		got, err := recordcodec.Decode(whole[:n])
		switch {
		case err == nil:
			ends++
		case got != nil:
			t.Fatalf("%d bytes: %v with %v", n, got, err)
		}
	}
	if most := reflect.TypeFor[jobs.Record]().NumField() + 3; ends > most { // cut between fields
		t.Errorf("%d beginnings are records, want at most %d", ends, most)
	}
}

func TestFieldsOfALaterVersionAreSkipped(t *testing.T) {
	want := full()
	later := append(recordcodec.Append(nil, want), 99, 2, 'h', 'i')
	if got, err := recordcodec.Decode(later); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(recordcodec.Append(nil, full()))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := recordcodec.Decode(b)
		if err != nil {
			return
		}
		again, err := recordcodec.Decode(recordcodec.Append(nil, r))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v\n%+v, %v", r, again, err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	r := full()
	b.Run("compact", func(b *testing.B) {
		for b.Loop() {
			recordcodec.Append(nil, r)
		}
	})
	b.Run("json", func(b *testing.B) {
		for b.Loop() {
			json.Marshal(r)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	r := full()
	r.State = jobs.Failed
	b.Run("compact", func(b *testing.B) {
		stored := recordcodec.Append(nil, r)
		for b.Loop() {
			recordcodec.Decode(stored)
		}
	})
	b.Run("json", func(b *testing.B) {
		stored, _ := json.Marshal(r)
		for b.Loop() {
			var r jobs.Record
			if err := json.Unmarshal(stored, &r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
