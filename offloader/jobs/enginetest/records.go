package enginetest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var records = []test{
	{"accept stores the record and its body", acceptStores},
	{"accept takes what has the ID of no job", acceptOfAKnownID},
	{"records are copies", recordsAreCopies},
	{"get knows accepted jobs alone", getOfUnknown},
	{"accepts at the same time are all stored", acceptsAtTheSameTime},
	{"callers that leave hold up no others", callersThatLeave},
	{"a removed job is gone", removedJobIsGone},
	{"remove removes the version that it names alone", removeOfAVersion},
	{"removes at the same time remove once", removesAtTheSameTime},
}

func acceptStores(k *kit) {
	r := record()
	r.Key = key(1, time.Now().Add(time.Hour))
	k.accept(r, []byte("body"))
	if r.Rev != 1 {
		k.Errorf("Rev %d after Accept, want 1", r.Rev)
	}
	k.same(k.get(r.ID), r)
	k.hasBody(r, []byte("body"))
}

func acceptOfAKnownID(k *kit) {
	r := k.accept(record(), []byte("body"))
	again := record()
	again.ID = r.ID
	again.Route = "other"
	if earlier, err := k.engine.Accept(k.Context(), again, jobs.Body{}); err == nil {
		k.Errorf("Accept of another record with the same ID: earlier %v, no error", earlier)
	}
	k.same(k.get(r.ID), r)
	k.hasBody(r, []byte("body"))
}

func recordsAreCopies(k *kit) {
	r := k.accept(record(), nil)
	want := k.get(r.ID)
	r.Request.Header[0].Value = "changed"
	r.Hook.URL = "changed"
	k.same(k.get(r.ID), want)

	got := k.get(r.ID)
	got.Request.Header[0].Value = "changed"
	got.Hook.URL = "changed"
	k.same(k.get(r.ID), want)

	page, err := k.engine.List(k.Context(), jobs.Query{Limit: 1})
	k.must(err)
	page.Records[0].Request.Header[0].Value = "changed"
	k.opened()[0].Hook.URL = "changed"
	k.same(k.get(r.ID), want)
}

func getOfUnknown(k *kit) {
	_, err := k.engine.Get(k.Context(), jobs.NewID(time.Now()))
	k.is(err, jobs.ErrUnknown, "Get of an empty store")
	k.accept(record(), nil)
	_, err = k.engine.Get(k.Context(), jobs.NewID(time.Now()))
	k.is(err, jobs.ErrUnknown, "Get of another ID")
}

func acceptsAtTheSameTime(k *kit) {
	const n = 100
	all := make([]*jobs.Record, n)
	var group sync.WaitGroup
	for i := range all {
		all[i] = record()
		all[i].BodySize = 3
		body := jobs.Body{Inline: []byte{byte(i), 1, 2}, Size: 3}
		group.Go(func() {
			if earlier, err := k.engine.Accept(k.Context(), all[i], body); err != nil || earlier != nil {
				k.Errorf("Accept: earlier %v, error %v", earlier, err)
			}
		})
	}
	group.Wait()
	for i, r := range all {
		k.same(k.get(r.ID), r)
		k.hasBody(r, []byte{byte(i), 1, 2})
	}
}

func callersThatLeave(k *kit) {
	const leave = 1000
	for range 3 {
		ctx, cancel := context.WithCancel(k.Context())
		var group, called sync.WaitGroup
		called.Add(leave)
		var stored sync.Map
		for range leave {
			group.Go(func() {
				r := record()
				called.Done()
				_, err := k.engine.Accept(ctx, r, jobs.Body{})
				if err == nil {
					stored.Store(r.ID, nil)
				} else {
					k.is(err, context.Canceled, "Accept")
				}
			})
		}
		called.Wait()
		stays := record()
		group.Go(func() {
			if _, err := k.engine.Accept(k.Context(), stays, jobs.Body{}); err != nil {
				k.Errorf("Accept of a caller that stays: %v", err)
			}
		})
		cancel()
		group.Wait()
		k.get(stays.ID)
		for id := range stored.Range {
			k.get(id.(jobs.ID))
		}
	}
}

func removedJobIsGone(k *kit) {
	before := k.files()
	neighbour := k.accept(record(), []byte("neighbour"))
	r := record()
	r.Key = key(1, time.Now().Add(time.Hour))
	k.accept(r, pattern(1, 2*jobs.InlineBytes))
	k.succeed(r, pattern(2, 2*jobs.InlineBytes))
	k.must(k.engine.Remove(k.Context(), r.ID, r.Rev))

	_, err := k.engine.Get(k.Context(), r.ID)
	k.is(err, jobs.ErrUnknown, "Get of a removed job")
	k.is(k.engine.Update(k.Context(), r, nil), jobs.ErrUnknown, "Update of a removed job")
	k.is(k.engine.Remove(k.Context(), r.ID, r.Rev), jobs.ErrUnknown, "Remove of a removed job")
	if _, err := k.engine.Body(k.Context(), r); err == nil {
		k.Error("the body of a removed job can be opened")
	}
	if _, err := k.engine.Result(k.Context(), r); err == nil {
		k.Error("the result of a removed job can be opened")
	}
	_, err = k.engine.NewResult(k.Context(), r.ID, 1, 2)
	k.is(err, jobs.ErrUnknown, "NewResult of a removed job")
	k.hasFiles(before, "after Remove")

	page, err := k.engine.List(k.Context(), jobs.Query{Limit: 10})
	k.must(err)
	k.sameIDs(page.Records, neighbour)
	k.hasBody(neighbour, []byte("neighbour"))
	again := record()
	again.Key = r.Key
	k.accept(again, nil)
}

func removeOfAVersion(k *kit) {
	r := k.accept(record(), nil)
	k.update(r, nil)
	for _, rev := range []uint64{0, 1, 3} {
		k.is(k.engine.Remove(k.Context(), r.ID, rev), jobs.ErrStale, "Remove of another version")
	}
	k.same(k.get(r.ID), r)
	k.must(k.engine.Remove(k.Context(), r.ID, r.Rev))
	k.is(k.engine.Remove(k.Context(), jobs.NewID(time.Now()), 1), jobs.ErrUnknown, "Remove of another ID")
}

func removesAtTheSameTime(k *kit) {
	r := k.accept(record(), nil)
	var removed atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			err := k.engine.Remove(k.Context(), r.ID, r.Rev)
			if err == nil {
				removed.Add(1)
				return
			}
			k.is(err, jobs.ErrUnknown, "Remove")
		})
	}
	group.Wait()
	if n := removed.Load(); n != 1 {
		k.Errorf("the job was removed %d times", n)
	}
}
