package enginetest

import (
	"bytes"
	"io"
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var bodies = []test{
	{"bodies of all lengths are stored", bodiesOfAllLengths},
	{"a body that was not written is empty", bodyThatWasNotWritten},
	{"a body needs no writer", bodyWithoutWriter},
	{"discarded bodies leave nothing", discardedBodies},
	{"bodies can be written at the same time", bodiesAtTheSameTime},
	{"a body that is read outlives its job", openBodyOutlivesItsJob},
}

// lengths are those at which engines change from one way of storing to the other.
var lengths = []int{0, 1, jobs.InlineBytes - 1, jobs.InlineBytes, jobs.InlineBytes + 1, 1 << 20}

func bodiesOfAllLengths(k *kit) {
	all := make(map[int]*jobs.Record)
	for _, n := range lengths {
		data := pattern(byte(n), n)
		body := k.body(data)
		if body.Size != int64(n) {
			k.Errorf("a body of %d bytes has size %d", n, body.Size)
		}
		if n <= jobs.InlineBytes && (!bytes.Equal(body.Inline, data) || body.File != "") {
			k.Errorf("a body of %d bytes has %d of them inline and the file %q", n, len(body.Inline), body.File)
		}
		all[n] = k.accept(record(), data)
	}
	for _, again := range []func(){func() {}, k.reopen, k.crash} {
		again()
		for n, r := range all {
			k.hasBody(r, pattern(byte(n), n))
		}
	}
}

func bodyThatWasNotWritten(k *kit) {
	r := record()
	if earlier, err := k.engine.Accept(k.Context(), r, jobs.Body{}); err != nil || earlier != nil {
		k.Fatalf("Accept: earlier %v, error %v", earlier, err)
	}
	k.hasBody(r, nil)
	k.hasBody(k.get(r.ID), nil)
}

func bodyWithoutWriter(k *kit) {
	r := record()
	r.BodySize = 4
	data := []byte("body")
	_, err := k.engine.Accept(k.Context(), r, jobs.Body{Inline: data, Size: 4})
	k.must(err)
	copy(data, "xxxx")
	k.hasBody(r, []byte("body"))
}

func discardedBodies(k *kit) {
	before := k.files()
	for _, n := range lengths {
		w, err := k.engine.NewBody(k.Context())
		k.must(err)
		_, err = w.Write(pattern(1, n))
		k.must(err)
		w.Discard()
		w.Discard()
	}
	k.hasFiles(before, "after discarded bodies")

	for _, n := range lengths {
		w, err := k.engine.NewBody(k.Context())
		k.must(err)
		_, err = w.Write(pattern(1, n))
		k.must(err)
		body, err := w.End()
		k.must(err)
		w.Discard()
		r := record()
		r.BodySize = body.Size
		_, err = k.engine.Accept(k.Context(), r, body)
		k.must(err)
		w.Discard()
		k.hasBody(r, pattern(1, n))
	}
}

func bodiesAtTheSameTime(k *kit) {
	var group sync.WaitGroup
	for i := range byte(8) {
		group.Go(func() {
			data := pattern(i, 3*jobs.InlineBytes+int(i))
			w, err := k.engine.NewBody(k.Context())
			if err != nil {
				k.Error(err)
				return
			}
			for _, chunk := range chunks(data) {
				if _, err := w.Write(chunk); err != nil {
					k.Error(err)
				}
			}
			body, err := w.End()
			if err != nil {
				k.Error(err)
				return
			}
			r := record()
			r.BodySize = body.Size
			if _, err := k.engine.Accept(k.Context(), r, body); err != nil {
				k.Error(err)
				return
			}
			k.hasBody(r, data)
		})
	}
	group.Wait()
}

func openBodyOutlivesItsJob(k *kit) {
	for _, n := range lengths {
		data := pattern(2, n)
		r := k.accept(record(), data)
		body, err := k.engine.Body(k.Context(), r)
		k.must(err)
		k.must(k.engine.Remove(k.Context(), r.ID, r.Rev))
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, data) {
			k.Errorf("%d bytes of %d from a body whose job was removed, error %v", len(got), n, err)
		}
		k.must(body.Close())
	}
}
