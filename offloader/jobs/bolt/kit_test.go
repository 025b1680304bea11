package bolt_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// accept stores a job with a body of this size.
func accept(t testing.TB, e jobs.Engine, size int) *jobs.Record {
	t.Helper()
	r := newRecord()
	w, err := e.NewBody(t.Context())
	must(t, err)
	_, err = w.Write(bytes.Repeat([]byte("body"), size/4+1)[:size])
	must(t, err)
	body, err := w.End()
	must(t, err)
	r.BodySize = int64(size)
	earlier, err := e.Accept(t.Context(), r, body)
	if err != nil || earlier != nil {
		t.Fatal(earlier, err)
	}
	return r
}

// succeed ends a job with a result of this size.
func succeed(t testing.TB, e jobs.Engine, r *jobs.Record, size int) {
	t.Helper()
	r.Attempt++
	data := bytes.Repeat([]byte("result"), size/6+1)[:size]
	r.State, r.Ended, r.KeepUntil = jobs.Succeeded, time.Now(), time.Now().Add(time.Hour)
	r.Response = &jobs.Response{Status: 200, Complete: true, Size: int64(size)}
	if size <= jobs.InlineBytes {
		must(t, e.Update(t.Context(), r, data))
		return
	}
	f, err := e.NewResult(t.Context(), r.ID, r.Generation, r.Attempt)
	must(t, err)
	_, err = f.Write(data)
	must(t, err)
	must(t, f.Sync())
	must(t, e.Update(t.Context(), r, nil))
	must(t, f.Close())
}

// readable fails the test if a record, its body and its result cannot be read.
func readable(t testing.TB, e jobs.Engine, want *jobs.Record) {
	t.Helper()
	got, err := e.Get(t.Context(), want.ID)
	if err != nil || got.Rev != want.Rev || got.State != want.State || got.Tenant != want.Tenant {
		t.Fatalf("got %+v, %v: want %+v", got, err, want)
	}
	body, err := e.Body(t.Context(), got)
	must(t, err)
	if b, err := io.ReadAll(body); err != nil || int64(len(b)) != want.BodySize {
		t.Errorf("a body of %d bytes: want %d, %v", len(b), want.BodySize, err)
	}
	body.Close()
	if want.Response == nil {
		return
	}
	result, err := e.Result(t.Context(), got)
	must(t, err)
	if b, err := io.ReadAll(io.NewSectionReader(result, 0, 1<<40)); err != nil || int64(len(b)) != want.Response.Size {
		t.Errorf("a result of %d bytes: want %d, %v", len(b), want.Response.Size, err)
	}
	result.Close()
}

// sound fails the test if a closed store has a problem.
func sound(t testing.TB, folder string, keys ...bolt.Key) bolt.Report {
	t.Helper()
	report, err := bolt.Check(folder, keys...)
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	return report
}

// image copies the folder of an engine in use, as a crash of its process leaves it.
func image(t testing.TB, folder string) string {
	t.Helper()
	to := t.TempDir()
	must(t, os.CopyFS(to, os.DirFS(folder)))
	return to
}

// rejected fails the test if Open does not return an error with these texts.
func rejected(t *testing.T, folder string, o bolt.Options, want error, texts ...string) {
	t.Helper()
	e, err := bolt.Open(folder, o)
	if err == nil {
		e.Close()
		t.Error("the store opens")
		return
	}
	if want != nil && !errors.Is(err, want) {
		t.Errorf("error %v: want %v", err, want)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not contain %q", err, text)
		}
	}
}

func database(folder string) string { return filepath.Join(folder, "jobs.db") }

// transactions returns how many transactions a closed store has had.
func transactions(t testing.TB, folder string) (n int) {
	t.Helper()
	db, err := bbolt.Open(database(folder), 0o600, &bbolt.Options{ReadOnly: true})
	must(t, err)
	defer db.Close()
	must(t, db.View(func(tx *bbolt.Tx) error {
		n = tx.ID()
		return nil
	}))
	return n
}
