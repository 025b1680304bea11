package enginetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// kit is the state of a test: an engine, and what tests do with it.
type kit struct {
	*testing.T
	open   Open
	folder string
	engine jobs.Engine
	closed bool
}

func newKit(t *testing.T, open Open) *kit {
	k := &kit{T: t, open: open, folder: t.TempDir()}
	k.engine = open(t, k.folder)
	t.Cleanup(k.close)
	return k
}

func (k *kit) close() {
	k.Helper()
	if k.closed {
		return
	}
	k.closed = true
	if err := k.engine.Close(); err != nil {
		k.Errorf("Close: %v", err)
	}
}

// reopen closes the engine and opens its folder again.
func (k *kit) reopen() {
	k.Helper()
	k.close()
	k.engine = k.open(k.T, k.folder)
	k.closed = false
}

// crash leaves the engine as the end of its process would, and opens another one on the
// files that are left.
func (k *kit) crash() {
	k.Helper()
	if f, ok := k.engine.(Folderless); ok {
		f.Crash()
		k.engine = k.open(k.T, k.folder)
		return
	}
	image := k.TempDir()
	k.must(os.CopyFS(image, os.DirFS(k.folder)))
	k.close()
	k.engine, k.folder, k.closed = k.open(k.T, image), image, false
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// is fails the test if an error is not the expected one.
func (k *kit) is(got, want error, what string) {
	k.Helper()
	if !errors.Is(got, want) {
		k.Errorf("%s: error %v, want %v", what, got, want)
	}
}

// record returns a record with all fields that a new job can have.
func record() *jobs.Record {
	now := time.Now().UTC().Round(0)
	return &jobs.Record{
		ID:     jobs.NewID(now),
		Route:  "report",
		Tenant: "acme",
		Owner:  [32]byte{1, 2, 3},
		Request: jobs.Request{
			Method: "POST", URI: "/report?a=b&c=%20", Host: "example.com", Scheme: "https", Remote: "[::1]:4711",
			Header: []jobs.Field{{Name: "Accept", Value: "a/b"}, {Name: "Accept", Value: "\xff\n\""}, {Name: "X-Empty"}},
		},
		Policy: jobs.Policy{
			MaxAttempts: 3, AttemptTimeout: time.Second, QueueTime: 1, TotalTime: time.Hour,
			MinBackoff: time.Second, MaxBackoff: time.Minute, Keep: time.Hour, KeepDead: time.Hour + 1, MaxResult: 1 << 40,
		},
		Repeatable: true,
		Created:    now,
		State:      jobs.Queued,
		NotBefore:  now.Add(time.Second),
		Generation: 1,
		Hook:       &jobs.Hook{URL: "https://example.com/hook", Secret: "main", WithResult: true},
		Trace:      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// key returns an idempotency key that is unlike others if its number is.
func key(number byte, until time.Time) *jobs.Key {
	return &jobs.Key{Hash: [32]byte{31: number}, Fingerprint: [32]byte{number, 1}, Until: until.UTC().Round(0)}
}

// accept stores a record with a body, which the engine takes through NewBody.
func (k *kit) accept(r *jobs.Record, body []byte) *jobs.Record {
	k.Helper()
	r.BodySize = int64(len(body))
	earlier, err := k.engine.Accept(k.Context(), r, k.body(body))
	if err != nil || earlier != nil {
		k.Fatalf("Accept: earlier %v, error %v", earlier, err)
	}
	return r
}

func (k *kit) body(data []byte) jobs.Body {
	k.Helper()
	w, err := k.engine.NewBody(k.Context())
	k.must(err)
	for _, chunk := range chunks(data) {
		n, err := w.Write(chunk)
		if err != nil || n != len(chunk) {
			k.Fatalf("Write of a body: %d of %d bytes, error %v", n, len(chunk), err)
		}
	}
	body, err := w.End()
	k.must(err)
	return body
}

// chunks cuts data into pieces of uneven length.
func chunks(data []byte) [][]byte {
	var all [][]byte
	for n := 1; len(data) > 0; n = n*3 + 1 {
		n = min(n, len(data))
		all, data = append(all, data[:n]), data[n:]
	}
	return all
}

// pattern returns bytes of which any two parts differ.
func pattern(seed byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16) ^ seed
	}
	return p
}

func (k *kit) get(id jobs.ID) *jobs.Record {
	k.Helper()
	r, err := k.engine.Get(k.Context(), id)
	k.must(err)
	return r
}

func (k *kit) update(r *jobs.Record, inline []byte) {
	k.Helper()
	k.must(k.engine.Update(k.Context(), r, inline))
}

// succeed ends a job with a result that is stored with the record, or in a file.
func (k *kit) succeed(r *jobs.Record, data []byte) {
	k.Helper()
	r.Attempt++
	var inline []byte
	if len(data) <= jobs.InlineBytes {
		inline = data
	} else {
		k.must(k.result(r, data).Close())
	}
	end(r, jobs.Succeeded, len(data))
	k.update(r, inline)
}

// end writes into a record that it has ended.
func end(r *jobs.Record, s jobs.State, size int) {
	r.State = s
	r.Ended = time.Now().UTC().Round(0)
	r.KeepUntil = r.Ended.Add(r.Policy.Keep)
	r.Response = &jobs.Response{
		Status: 200, Header: []jobs.Field{{Name: "Content-Type", Value: "a/b"}},
		Size: int64(size), Complete: true, SHA256: [32]byte{9}, Trailer: []jobs.Field{{Name: "X-End", Value: "1"}},
	}
}

// result writes the file of an attempt.
func (k *kit) result(r *jobs.Record, data []byte) jobs.ResultFile {
	k.Helper()
	f, err := k.engine.NewResult(k.Context(), r.ID, r.Generation, r.Attempt)
	k.must(err)
	for _, chunk := range chunks(data) {
		n, err := f.Write(chunk)
		if err != nil || n != len(chunk) {
			k.Fatalf("Write of a result: %d of %d bytes, error %v", n, len(chunk), err)
		}
	}
	k.must(f.Sync())
	return f
}

// hasBody fails the test if the body of a record is another one.
func (k *kit) hasBody(r *jobs.Record, want []byte) {
	k.Helper()
	b, err := k.engine.Body(k.Context(), r)
	k.must(err)
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, want) {
		k.Errorf("the body has %d bytes, error %v: want %d other bytes", len(got), err, len(want))
	}
	k.must(b.Close())
}

// hasResult fails the test if the result of a record is another one.
func (k *kit) hasResult(r *jobs.Record, want []byte) {
	k.Helper()
	result, err := k.engine.Result(k.Context(), r)
	k.must(err)
	if result.Size() != int64(len(want)) {
		k.Errorf("the result has size %d, want %d", result.Size(), len(want))
	}
	got, err := io.ReadAll(io.NewSectionReader(result, 0, int64(len(want))+1))
	if err != nil || !bytes.Equal(got, want) {
		k.Errorf("the result has %d bytes, error %v: want %d other bytes", len(got), err, len(want))
	}
	k.must(result.Close())
}

// same fails the test if two records differ in a stored field.
func (k *kit) same(got, want *jobs.Record) {
	k.Helper()
	if g, w := text(k, got), text(k, want); g != w {
		k.Errorf("got\n%s, want\n%s", g, w)
	}
}

// text returns all stored fields of a record. JSON alone would hide bytes that are no UTF-8.
func text(k *kit, r *jobs.Record) string {
	k.Helper()
	text, err := json.MarshalIndent(r, "", " ")
	k.must(err)
	return fmt.Sprintf("%s\n%#v\n%#v\n", text, r.Request, r.Response)
}

// sameIDs fails the test if records are not those with the IDs.
func (k *kit) sameIDs(got []*jobs.Record, want ...*jobs.Record) {
	k.Helper()
	if !slices.Equal(ids(got), ids(want)) {
		k.Errorf("got the jobs\n%s, want\n%s", ids(got), ids(want))
	}
}

// files returns the number of files that the engine has.
func (k *kit) files() int {
	k.Helper()
	if f, ok := k.engine.(Folderless); ok {
		return f.Files()
	}
	n := 0
	k.must(filepath.WalkDir(k.folder, func(_ string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // it was removed meanwhile
			return nil
		case err == nil && !entry.IsDir():
			n++
		}
		return err
	}))
	return n
}

// hasFiles fails the test if the number of files does not become the expected one: engines may
// remove files after a call.
func (k *kit) hasFiles(want int, when string) {
	k.Helper()
	if !testkit.Poll(5*time.Second, func() bool { return k.files() == want }) {
		k.Errorf("%d files %s, want %d", k.files(), when, want)
	}
}

// ids returns the IDs of records.
func ids(records []*jobs.Record) []jobs.ID {
	all := make([]jobs.ID, len(records))
	for i, r := range records {
		all[i] = r.ID
	}
	return all
}

// opened returns the records of Open.
func (k *kit) opened() []*jobs.Record {
	k.Helper()
	var all []*jobs.Record
	for r, err := range k.engine.Open(k.Context()) {
		k.must(err)
		all = append(all, r)
	}
	return all
}
