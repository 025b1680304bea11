package enginetest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var keys = []test{
	{"a key belongs to one job", keyBelongsToOneJob},
	{"a key whose time has come is free", keyWhoseTimeHasCome},
	{"a key of one job is not freed by another one", keyOfTwoJobs},
	{"accepts at the same time with one key store one job", keyAtTheSameTime},
	{"keys survive", keysSurvive},
}

// keyed returns a record with a key.
func keyed(number byte, until time.Duration) *jobs.Record {
	r := record()
	r.Key = key(number, time.Now().Add(until))
	return r
}

// rejected fails the test if a job is not rejected because its key belongs to the earlier one.
func (k *kit) rejected(r, want *jobs.Record, size int) {
	k.Helper()
	body := k.body(pattern(7, size))
	r.BodySize = body.Size
	earlier, err := k.engine.Accept(k.Context(), r, body)
	if err != nil || earlier == nil {
		k.Fatalf("Accept with a known key: earlier %v, error %v", earlier, err)
	}
	k.same(earlier, want)
	known, err := k.engine.Known(k.Context(), r.Key.Hash)
	k.must(err)
	k.same(known, want)
	if r.Rev != 0 {
		k.Errorf("Rev %d of a job that was not accepted", r.Rev)
	}
	_, err = k.engine.Get(k.Context(), r.ID)
	k.is(err, jobs.ErrUnknown, "Get of a job that was not accepted")
}

func keyBelongsToOneJob(k *kit) {
	first := k.accept(keyed(1, time.Hour), []byte("first"))
	files := k.files()
	used, err := k.engine.Usage(k.Context())
	k.must(err)
	k.rejected(keyed(1, time.Hour), first, 10)
	k.rejected(keyed(1, 2*time.Hour), first, 2*jobs.InlineBytes)
	after, err := k.engine.Usage(k.Context())
	k.must(err)
	if after.Jobs != used.Jobs || after.BodyBytes != used.BodyBytes {
		k.Errorf("a job that was not accepted counts: %+v, before %+v", after, used)
	}
	k.hasFiles(files, "after jobs that were not accepted")
	k.hasBody(first, []byte("first"))

	k.accept(keyed(2, time.Hour), nil)
	k.accept(record(), nil)
	k.accept(record(), nil)
	k.succeed(first, []byte("result"))
	k.rejected(keyed(1, time.Hour), first, 0)
}

func keyWhoseTimeHasCome(k *kit) {
	first := k.accept(keyed(1, -time.Second), nil)
	_, err := k.engine.Known(k.Context(), first.Key.Hash)
	k.is(err, jobs.ErrUnknown, "Known with a key whose time has come")
	second := k.accept(keyed(1, time.Hour), nil)
	k.same(k.get(first.ID), first)
	k.rejected(keyed(1, time.Hour), second, 0)
}

func keyOfTwoJobs(k *kit) {
	first := k.accept(keyed(1, -time.Second), nil)
	second := k.accept(keyed(1, time.Hour), nil)
	k.update(first, nil)
	k.rejected(keyed(1, time.Hour), second, 0)
	k.must(k.engine.Remove(k.Context(), first.ID, first.Rev))
	k.rejected(keyed(1, time.Hour), second, 0)
	k.must(k.engine.Remove(k.Context(), second.ID, second.Rev))
	_, err := k.engine.Known(k.Context(), second.Key.Hash)
	k.is(err, jobs.ErrUnknown, "Known with the key of a removed job")
	k.accept(keyed(1, time.Hour), nil)
}

func keyAtTheSameTime(k *kit) {
	for round := range byte(10) {
		var accepted, other atomic.Pointer[jobs.Record]
		var group sync.WaitGroup
		for range 8 {
			r := keyed(round, time.Hour)
			group.Go(func() {
				earlier, err := k.engine.Accept(k.Context(), r, jobs.Body{})
				switch {
				case err != nil:
					k.Errorf("Accept: %v", err)
				case earlier != nil:
					other.Store(earlier)
				case !accepted.CompareAndSwap(nil, r):
					k.Error("two jobs were accepted with one key")
				}
			})
		}
		group.Wait()
		k.same(other.Load(), accepted.Load())
	}
}

func keysSurvive(k *kit) {
	first := k.accept(keyed(1, -time.Second), nil)
	second := k.accept(keyed(1, time.Hour), nil)
	third := k.accept(keyed(2, time.Hour), nil)
	for _, again := range []func(){k.reopen, k.crash} {
		again()
		k.rejected(keyed(1, time.Hour), second, 0)
		k.rejected(keyed(2, time.Hour), third, 0)
		k.same(k.get(first.ID), first)
	}
}
