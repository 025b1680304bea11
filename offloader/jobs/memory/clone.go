package memory

import (
	"fmt"
	"reflect"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// clone returns a copy of a record that shares nothing with it. Its times have lost the
// monotonic clock, which ends with a process.
func clone(r *jobs.Record) *jobs.Record {
	var c jobs.Record
	copyInto(reflect.ValueOf(&c).Elem(), reflect.ValueOf(r).Elem())
	return &c
}

func copyInto(dst, src reflect.Value) {
	if t, ok := reflect.TypeAssert[time.Time](src); ok {
		dst.Set(reflect.ValueOf(t.Round(0)))
		return
	}
	switch src.Kind() {
	case reflect.Struct:
		for i := range src.NumField() {
			copyInto(dst.Field(i), src.Field(i))
		}
	case reflect.Pointer:
		if !src.IsNil() {
			dst.Set(reflect.New(src.Type().Elem()))
			copyInto(dst.Elem(), src.Elem())
		}
	case reflect.Slice:
		if !src.IsNil() {
			dst.Set(reflect.MakeSlice(src.Type(), src.Len(), src.Len()))
			for i := range src.Len() {
				copyInto(dst.Index(i), src.Index(i))
			}
		}
	case reflect.Map, reflect.Interface, reflect.Chan, reflect.Func:
		panic(fmt.Sprintf("a record has a %s, which cannot be stored", src.Type()))
	default: // with arrays, which records have of bytes alone
		dst.Set(src)
	}
}
