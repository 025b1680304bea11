package enginetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var updates = []test{
	{"update stores all fields", updateStores},
	{"update rejects stale versions", updateOfStale},
	{"one of many updates of a version wins", updatesOfAVersion},
	{"no update is lost", noUpdateIsLost},
	{"an update does not change the body", updateKeepsTheBody},
}

func updateStores(k *kit) {
	r := k.accept(record(), nil)
	now := time.Now().UTC().Round(0)
	r.Attempt, r.Uncounted, r.Crashes, r.Generation = 4, 1, 2, 2
	for i := range jobs.MaxAttemptRecords {
		r.Attempts = append(r.Attempts, jobs.AttemptRecord{
			Generation: 1, Number: i + 1, Began: now, Ended: now.Add(time.Second),
			Class: jobs.Broken, Reason: "status", Status: 502, Bytes: 1 << 33,
		})
	}
	r.Cancel = &jobs.Cancel{At: now, By: "operator"}
	r.Hook.State, r.Hook.Tries, r.Hook.Next, r.Hook.Error = jobs.HookPending, 3, now.Add(time.Minute), "status_500"
	r.Reason = "cancelled"
	end(r, jobs.Cancelled, 0)
	for _, change := range []func(){
		func() {},
		func() { r.Response, r.Cancel = nil, nil },
		func() { r.Attempts, r.NotBefore, r.Hook = nil, time.Time{}, nil },
	} {
		change()
		before := r.Rev
		k.update(r, nil)
		if r.Rev != before+1 {
			k.Errorf("Rev %d after the update of %d", r.Rev, before)
		}
		k.same(k.get(r.ID), r)
	}
	if r.State = jobs.Queued; k.get(r.ID).State != jobs.Cancelled {
		k.Error("a change of the caller's record has changed the stored one")
	}
}

func updateOfStale(k *kit) {
	r := k.accept(record(), nil)
	stale := k.get(r.ID)
	r.Reason = "first"
	k.update(r, nil)
	stale.Reason = "second"
	for _, rev := range []uint64{0, 1, 3} {
		stale.Rev = rev
		k.is(k.engine.Update(k.Context(), stale, []byte("x")), jobs.ErrStale, "Update of another version")
		if stale.Rev != rev {
			k.Errorf("an update that was rejected has changed Rev from %d to %d", rev, stale.Rev)
		}
	}
	k.same(k.get(r.ID), r)
	unknown := record()
	unknown.Rev = 1
	k.is(k.engine.Update(k.Context(), unknown, nil), jobs.ErrUnknown, "Update of another ID")
}

func updatesOfAVersion(k *kit) {
	r := k.accept(record(), nil)
	var won atomic.Int32
	var group sync.WaitGroup
	versions := make([]*jobs.Record, 16)
	for i := range versions {
		versions[i] = k.get(r.ID)
		versions[i].Attempt = i + 1
	}
	for _, version := range versions {
		group.Go(func() {
			err := k.engine.Update(k.Context(), version, nil)
			if err == nil {
				won.Store(int32(version.Attempt))
				return
			}
			k.is(err, jobs.ErrStale, "Update")
		})
	}
	group.Wait()
	if got := k.get(r.ID); got.Rev != 2 || got.Attempt != int(won.Load()) {
		k.Errorf("Rev %d and attempt %d, want 2 and %d", got.Rev, got.Attempt, won.Load())
	}
}

func noUpdateIsLost(k *kit) {
	const writers, each = 4, 25
	r := k.accept(record(), nil)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for done := 0; done < each; {
				version, err := k.engine.Get(k.Context(), r.ID)
				if err != nil {
					k.Error(err)
					return
				}
				version.Attempt++
				err = k.engine.Update(k.Context(), version, nil)
				if err == nil {
					done++
				} else if !errors.Is(err, jobs.ErrStale) {
					k.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if got := k.get(r.ID); got.Attempt != writers*each || got.Rev != writers*each+1 {
		k.Errorf("Rev %d and attempt %d after %d updates", got.Rev, got.Attempt, writers*each)
	}
}

func updateKeepsTheBody(k *kit) {
	for _, size := range []int{0, 10, 2 * jobs.InlineBytes} {
		body := pattern(1, size)
		r := k.accept(record(), body)
		k.update(r, nil)
		k.succeed(r, []byte("result"))
		k.hasBody(r, body)
	}
}
