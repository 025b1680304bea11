package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing/iotest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var results = []test{
	{"results of all lengths are stored", resultsOfAllLengths},
	{"an update without a result leaves it", updateLeavesTheResult},
	{"a result is read while it is written", liveResult},
	{"a file of a short result is kept", shortFile},
	{"the last attempt has the result", lastAttemptHasTheResult},
	{"a new attempt removes the files of earlier ones", attemptsRemoveEarlierFiles},
	{"a job without a complete response has no result", noResult},
	{"results have jobs", resultOfUnknown},
	{"a result that is read outlives its job", openResultOutlivesItsJob},
}

func resultsOfAllLengths(k *kit) {
	all := make(map[int]*jobs.Record)
	for _, n := range lengths {
		data := pattern(byte(n), n)
		all[n] = k.accept(record(), []byte("body"))
		k.succeed(all[n], data)
		if n > 0 {
			data[0]++ // the engine has its copy
		}
	}
	for _, again := range []func(){func() {}, k.reopen, k.crash} {
		again()
		for n, r := range all {
			want := pattern(byte(n), n)
			k.hasResult(r, want)
			result, err := k.engine.Result(k.Context(), r)
			k.must(err)
			if n <= 1<<15 {
				k.must(iotest.TestReader(io.NewSectionReader(result, 0, result.Size()), want))
			}
			if got, err := result.ReadAt(make([]byte, 1), int64(n)); got != 0 || !errors.Is(err, io.EOF) {
				k.Errorf("ReadAt at the end of %d bytes: %d, %v", n, got, err)
			}
			k.must(result.Close())
		}
	}
}

func updateLeavesTheResult(k *kit) {
	for _, n := range []int{1, 2 * jobs.InlineBytes} {
		r := k.accept(record(), nil)
		k.succeed(r, pattern(1, n))
		r.KeepUntil = r.KeepUntil.Add(time.Hour)
		k.update(r, nil)
		k.hasResult(r, pattern(1, n))
	}
}

func liveResult(k *kit) {
	data := pattern(3, 1<<20)
	r := k.accept(record(), nil)
	r.Attempt = 1
	k.update(r, nil)
	f, err := k.engine.NewResult(k.Context(), r.ID, 1, 1)
	k.must(err)
	var written atomic.Int64
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { readLive(k, f, &written, data) })
	}
	for i, chunk := range chunks(data) {
		n, err := f.Write(chunk)
		if err != nil || n != len(chunk) {
			k.Errorf("Write: %d of %d bytes, error %v", n, len(chunk), err)
			written.Store(int64(len(data))) // ends the readers
			break
		}
		written.Add(int64(n))
		if i%4 == 0 {
			k.must(f.Sync())
		}
	}
	group.Wait()
	k.must(f.Sync())
	k.must(f.Close())
	end(r, jobs.Succeeded, len(data))
	k.update(r, nil)
	k.hasResult(r, data)
}

// readLive reads written bytes again and again, until it has read all.
func readLive(k *kit, f jobs.ResultFile, written *atomic.Int64, data []byte) {
	p := make([]byte, 70_000)
	for off := int64(0); off < int64(len(data)); {
		there := min(written.Load()-off, int64(len(p)))
		n, err := f.ReadAt(p[:there], off)
		if err != nil && !errors.Is(err, io.EOF) || int64(n) != there || !bytes.Equal(p[:n], data[off:off+there]) {
			k.Errorf("ReadAt at %d: %d bytes of %d, error %v", off, n, there, err)
			return
		}
		off += there
	}
}

func shortFile(k *kit) {
	for _, n := range []int{0, 10} {
		r := k.accept(record(), nil)
		r.Attempt = 1
		k.must(k.result(r, pattern(4, n)).Close())
		end(r, jobs.Succeeded, n)
		k.update(r, nil)
		k.hasResult(r, pattern(4, n))
		k.reopen()
		k.hasResult(r, pattern(4, n))
	}
}

func lastAttemptHasTheResult(k *kit) {
	inline, file := []byte("inline"), pattern(5, 2*jobs.InlineBytes)
	r := k.accept(record(), nil)
	for i, data := range [][]byte{inline, file, []byte("INLINE"), pattern(6, 2*jobs.InlineBytes), file, nil} {
		if i%2 == 0 {
			r.Generation, r.Attempt = r.Generation+1, 0
		}
		r.State, r.Response = jobs.Queued, nil
		k.update(r, nil)
		k.succeed(r, data)
		k.hasResult(r, data)
		k.reopen()
		k.hasResult(r, data)
	}
}

func attemptsRemoveEarlierFiles(k *kit) {
	r := k.accept(record(), nil)
	r.Attempt = 1
	k.update(r, nil)
	k.must(k.result(r, pattern(1, 2*jobs.InlineBytes)).Close())
	files := k.files()
	for _, a := range [][2]int{{1, 2}, {1, 3}, {2, 1}} {
		r.Generation, r.Attempt = a[0], a[1]
		k.update(r, nil)
		k.must(k.result(r, pattern(2, 2*jobs.InlineBytes)).Close())
		k.hasFiles(files, fmt.Sprintf("in attempt %v", a))
	}
	end(r, jobs.Succeeded, 2*jobs.InlineBytes)
	k.update(r, nil)
	k.hasResult(r, pattern(2, 2*jobs.InlineBytes))
}

func noResult(k *kit) {
	r := k.accept(record(), nil)
	_, err := k.engine.Result(k.Context(), r)
	k.is(err, jobs.ErrNoResult, "Result of a job without a response")
	r.Attempt = 1
	k.must(k.result(r, []byte("half")).Close())
	end(r, jobs.Failed, 4)
	r.Response.Complete = false
	k.update(r, nil)
	_, err = k.engine.Result(k.Context(), r)
	k.is(err, jobs.ErrNoResult, "Result of a job whose response is not complete")
}

func resultOfUnknown(k *kit) {
	r := record()
	_, err := k.engine.NewResult(k.Context(), r.ID, 1, 1)
	k.is(err, jobs.ErrUnknown, "NewResult of another ID")
	end(r, jobs.Succeeded, 3)
	if _, err := k.engine.Result(k.Context(), r); err == nil {
		k.Error("Result of another ID can be opened")
	}
}

func openResultOutlivesItsJob(k *kit) {
	for _, n := range lengths {
		data := pattern(2, n)
		r := k.accept(record(), nil)
		k.succeed(r, data)
		result, err := k.engine.Result(k.Context(), r)
		k.must(err)
		k.must(k.engine.Remove(k.Context(), r.ID, r.Rev))
		got, err := io.ReadAll(io.NewSectionReader(result, 0, result.Size()))
		if err != nil || !bytes.Equal(got, data) {
			k.Errorf("%d bytes of %d from a result whose job was removed, error %v", len(got), n, err)
		}
		k.must(result.Close())
	}
}
