package crashtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// All that a submission is follows from the number of its key.

// perRoute is how many jobs of a route run at a time.
const perRoute = 8

// route returns one of two routes. The jobs of "once" may not be run again.
func route(key int) string {
	if key%4 == 0 {
		return "once"
	}
	return "again"
}

// cancels reports whether a job is cancelled when it has been accepted.
func cancels(key int) bool { return key%17 == 5 }

// hooked reports whether a job has a webhook.
func hooked(key int) bool { return key%6 == 1 }

// lengths of bodies and results: in the record, and in a file.
var lengths = []int{0, 100, 1000, jobs.InlineBytes + 1, 40_000}

func bodyOf(key int) []byte   { return noise(key, 1, lengths[key%5]) }
func resultOf(key int) []byte { return noise(key, 2, lengths[key/5%5]) }

func noise(key int, kind byte, n int) []byte {
	p := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(key), byte(key >> 8), byte(key >> 16), byte(key >> 24), kind})
	_, _ = source.Read(p)
	return p
}

// submission returns the submission with a key.
func submission(key int, body jobs.Body) jobs.Submission {
	hash := sha256.Sum256([]byte(strconv.Itoa(key)))
	var hook *jobs.Hook
	if hooked(key) {
		hook = &jobs.Hook{URL: "https://example.com/hook", Secret: "main"}
	}
	return jobs.Submission{
		Hook:  hook,
		Route: route(key),
		Key:   &jobs.Key{Hash: hash, Fingerprint: hash, Until: time.Now().Add(time.Hour)},
		Request: jobs.Request{
			Method: "POST", URI: "/" + strconv.Itoa(key), Host: "example.com", Scheme: "http", Remote: "192.0.2.1:1234",
			Header: []jobs.Field{{Name: "Content-Type", Value: "application/octet-stream"}},
		},
		Body:       body,
		Policy:     jobs.Policy{MaxAttempts: 10, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, Keep: time.Hour, KeepDead: time.Hour},
		Repeatable: route(key) != "once",
	}
}

// keyOf returns the number of the key of a job.
func keyOf(r *jobs.Record) int {
	key, err := strconv.Atoi(strings.TrimPrefix(r.Request.URI, "/"))
	if err != nil {
		panic(err)
	}
	return key
}

// worker executes jobs, and writes a line before and after each attempt.
type worker struct {
	journal *journal
	// poison is the key of a job whose attempts kill the process. Zero: none.
	poison int
}

// Execute implements jobs.Executor.
func (w *worker) Execute(_ context.Context, o *jobs.Offer) jobs.Verdict {
	a, err := o.Start()
	if err != nil {
		return jobs.Verdict{Class: jobs.NotSent}
	}
	r := a.Record()
	l := line{What: started, Key: keyOf(r), ID: r.ID, Attempt: r.Attempt}
	w.journal.add(l)
	if l.Key == w.poison {
		killMyself()
	}
	v, err := w.work(a, l.Key)
	if err != nil {
		l.Note = err.Error()
	}
	l.What, l.Class = ended, v.Class
	w.journal.add(l)
	return v
}

// work plays an upstream: it reads the body, takes a while, and answers. Some first attempts
// fail.
func (w *worker) work(a *jobs.Attempt, key int) (jobs.Verdict, error) {
	body, err := a.Body(a.Context())
	if err != nil {
		return jobs.Verdict{Class: jobs.NotSent}, err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil {
		return jobs.Verdict{Class: jobs.NotSent}, err
	}
	if !bytes.Equal(got, bodyOf(key)) {
		w.journal.add(line{What: wrong, Key: key, Note: fmt.Sprintf("a body of %d bytes is not the submitted one", len(got))})
	}
	testkit.Pause(rand.N(40 * time.Millisecond))
	if key%10 == 3 && a.Record().Attempt == 1 {
		return jobs.Verdict{Class: jobs.Broken, Reason: "failed"}, nil
	}
	if err := a.Begin(200, nil); err != nil {
		return jobs.Verdict{Class: jobs.Broken}, err
	}
	for result := resultOf(key); len(result) > 0; {
		n := min(len(result), 10_000)
		if _, err := a.Write(result[:n]); err != nil {
			return jobs.Verdict{Class: jobs.Broken}, err
		}
		result = result[n:]
	}
	a.End(nil)
	return jobs.Verdict{Class: jobs.Completed}, nil
}
