package jobs_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/memory"
)

// chunks is an executor that writes what a test sends, until the test closes the channel.
func chunks(parts <-chan string, end jobs.Verdict) executor {
	return run(func(a *jobs.Attempt) jobs.Verdict {
		begun := false
		for p := range parts {
			if !begun {
				_ = a.Begin(206, nil)
				begun = true
			}
			if _, err := a.Write([]byte(p)); err != nil {
				return jobs.Verdict{Class: jobs.Broken, Reason: "write"}
			}
		}
		return end
	})
}

// Readers follow the result while it moves from memory to a file.
func TestReadersFollowAResult(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept()
		parts := make(chan string)
		defer k.Bind("r", chunks(parts, jobs.Verdict{Class: jobs.Completed}), jobs.RouteLimits{})()
		k.want(id, jobs.Running, "")
		type end struct {
			text string
			err  error
		}
		ends := make(chan end, 3)
		for range 3 {
			r, err := k.Result(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				defer r.Close()
				head, err := r.Head(t.Context())
				if err != nil || head.Status != 206 {
					ends <- end{"", err}
					return
				}
				text, err := read(t.Context(), r)
				ends <- end{text, err}
			}()
		}
		synctest.Wait()
		var want strings.Builder
		for _, n := range []int{1, jobs.InlineBytes - 1, 1, 50_000, 7} {
			part := strings.Repeat(string(rune('a'+n%26)), n)
			want.WriteString(part)
			parts <- part
			synctest.Wait()
			if v := k.want(id, jobs.Streaming, ""); v.Bytes != int64(want.Len()) {
				t.Fatalf("%d bytes, want %d", v.Bytes, want.Len())
			}
		}
		close(parts)
		for range 3 {
			if e := <-ends; e.text != want.String() || e.err != nil {
				t.Fatal(len(e.text), e.err)
			}
		}
		v := k.want(id, jobs.Succeeded, "")
		if v.Response.SHA256 != sha256.Sum256([]byte(want.String())) || v.Response.Size != int64(want.Len()) {
			t.Fatalf("%+v", v.Response)
		}
		k.crash()
		r, err := k.Result(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if text, err := read(t.Context(), r); text != want.String() || err != nil {
			t.Fatal(len(text), err)
		}
	})
}

// A reader of an attempt that is cut short gets no clean end, and nothing of the next attempt.
func TestAReaderStaysWithItsAttempt(t *testing.T) {
	for _, n := range []int{3, 100_000} {
		bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
			id := k.accept(repeatable)
			parts := make(chan string)
			defer k.Bind("r", executor(func(ctx context.Context, o *jobs.Offer) jobs.Verdict {
				return chunks(parts, jobs.Verdict{Class: jobs.Broken}).Execute(ctx, o)
			}), jobs.RouteLimits{})()
			parts <- strings.Repeat("a", n)
			synctest.Wait()
			first, err := k.Result(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			close(parts)
			parts = make(chan string)
			k.want(id, jobs.RetryWait, "")
			if _, err := k.Result(t.Context(), id); !errors.Is(err, jobs.ErrNoResult) {
				t.Fatal(err)
			}
			pass(2 * time.Second)
			parts <- strings.Repeat("b", n)
			k.want(id, jobs.Streaming, "")
			text, err := read(t.Context(), first)
			if text != strings.Repeat("a", n) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(len(text), err)
			}
			if _, complete := first.Size(); complete {
				t.Fatal("it is complete")
			}
			close(parts)
			synctest.Wait()
		})
	}
}

func TestAReaderOfAnAttemptWithoutAResponseEnds(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept()
		defer k.Bind("r", hang, jobs.RouteLimits{})()
		k.want(id, jobs.Running, "")
		r, err := k.Result(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, _ = k.Cancel(t.Context(), id, "owner")
		if _, err := r.Head(t.Context()); !errors.Is(err, jobs.ErrNoResult) {
			t.Fatal(err)
		}
	})
}

func TestAResultThatIsTooLargeEndsTheJob(t *testing.T) {
	for name, c := range map[string]struct {
		most   int64
		fault  error
		reason string
		state  jobs.State
	}{
		"policy":       {20_000, nil, jobs.ResultTooLarge, jobs.Failed},
		"store full":   {0, jobs.ErrFull, jobs.NoSpace, jobs.Failed},
		"store broken": {0, jobs.ErrBroken, jobs.OutcomeUnknown, jobs.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
				k.inject(func(call memory.Call) error {
					if call.Method == "ResultFile.Sync" || call.Method == "ResultFile.Write" && !call.After {
						return c.fault
					}
					return nil
				})
				ended := false
				defer k.Bind("r", run(func(a *jobs.Attempt) jobs.Verdict {
					_ = a.Begin(200, nil)
					_, _ = a.Write(make([]byte, 15_000))
					_, err := a.Write(make([]byte, 15_000))
					ended = a.Context().Err() != nil && err != nil
					return jobs.Verdict{Class: jobs.Completed}
				}), jobs.RouteLimits{})()
				id := k.accept(func(s *jobs.Submission) { s.Policy.MaxResult = c.most })
				if v := k.want(id, c.state, c.reason); v.Response != nil || !ended {
					t.Fatal(v.Response, ended)
				}
			})
		})
	}
}

// A result that cannot be made durable is no result.
func TestAResultIsSyncedBeforeItsEnd(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		var calls []string
		k.inject(func(call memory.Call) error {
			if !call.After && (call.Method == "Update" || call.Method == "ResultFile.Sync") {
				k.note(func() { calls = append(calls, call.Method) })
			}
			if call.Method == "ResultFile.Sync" {
				return jobs.ErrBroken
			}
			return nil
		})
		id := k.accept()
		defer k.Bind("r", answer(strings.Repeat("x", 100_000)), jobs.RouteLimits{})()
		v := k.want(id, jobs.Failed, jobs.OutcomeUnknown)
		if v.Attempts[0].Reason != jobs.NotStored || strings.Join(calls, " ") != "Update ResultFile.Sync Update" {
			t.Fatal(v.Attempts[0], calls)
		}
	})
}

// Readers count as tails while the attempt runs.
func TestTailsAreCounted(t *testing.T) {
	bubble(t, jobs.Options{}, func(t *testing.T, k *kit) {
		id := k.accept()
		parts := make(chan string)
		defer k.Bind("r", chunks(parts, jobs.Verdict{Class: jobs.Completed}), jobs.RouteLimits{})()
		k.want(id, jobs.Running, "")
		tails := func(want int) {
			t.Helper()
			if synctest.Wait(); k.Stats().Routes["r"].Tails != want {
				t.Fatalf("%d tails, want %d", k.Stats().Routes["r"].Tails, want)
			}
		}
		tails(0)
		var readers []jobs.Reader
		for range 2 {
			r, err := k.Result(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			readers = append(readers, r)
		}
		tails(2)
		readers[0].Close()
		tails(1)
		parts <- "x"
		close(parts)
		tails(0)
	})
}
