package output_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/output"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// attempt is a stored response.
type attempt struct {
	status  int
	header  []jobs.Field
	body    strings.Builder
	trailer []jobs.Field
	err     error
}

func (a *attempt) Begin(status int, header []jobs.Field) error {
	a.status, a.header = status, header
	return nil
}

func (a *attempt) Write(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	return a.body.Write(p)
}

func (a *attempt) End(trailer []jobs.Field) { a.trailer = trailer }

func client() *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	w.Header().Set("Server", "Caddy")
	return w
}

func late(client http.ResponseWriter, applied string) *output.Late {
	l := new(output.Late)
	l.Init(client, applied)
	return l
}

func TestAResponseInTime(t *testing.T) {
	t.Parallel()
	w := client()
	l := late(w, "respond-async")
	l.Header().Del("Server")
	l.Header().Set("X-Own", "1")
	_, _ = io.WriteString(l, "a")
	l.Flush()
	if l.Hold() {
		t.Error("held after the head")
	}
	if l.Drop() {
		t.Error("the run writes to the client, and would go on after its handler has returned")
	}
	_, _ = io.WriteString(l, "b")
	if stored := l.Await(); stored != nil {
		t.Error("stored")
	}
	l.Header().Set(http.TrailerPrefix+"X-Sum", "7")
	l.End()
	res := w.Result()
	if res.StatusCode != 200 || w.Body.String() != "ab" || !w.Flushed || res.Header.Get("Server") != "" || res.Header.Get("X-Own") != "1" ||
		res.Header.Get("Preference-Applied") != "respond-async" || res.Trailer.Get("X-Sum") != "7" || l.Status() != 200 {
		t.Errorf("got %v %v %s", res.Header, res.Trailer, w.Body)
	}
}

// A response that begins while it is held waits, and goes into the store.
func TestAResponseThatIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a := client(), new(attempt)
		l := late(w, "")
		if !l.Hold() || l.Hold() {
			t.Error("not held, or held twice")
		}
		over := make(chan *output.Stored)
		go func() {
			l.Header().Set("X-Own", "1")
			l.WriteHeader(201)
			_, _ = io.WriteString(l, "body")
			l.Header().Set(http.TrailerPrefix+"X-Sum", "7")
			stored := l.Await()
			l.End()
			over <- stored
		}()
		synctest.Wait()
		if a.status != 0 {
			t.Error("did not wait")
		}
		l.Store(a)
		stored := <-over
		if stored == nil || a.status != 201 || a.body.String() != "body" || len(a.header) != 1 || a.header[0].Name != "X-Own" ||
			len(a.trailer) != 1 || l.Status() != 0 || stored.Header().Get("X-Own") != "1" {
			t.Errorf("stored %+v", a)
		}
		if w.Body.Len() > 0 || w.Header().Get("X-Own") != "" || w.Header().Get("Server") != "Caddy" {
			t.Errorf("the client got %v %s", w.Header(), w.Body)
		}
	})
}

// If no job can be made of a run, its response goes to the client after all.
func TestAHoldThatIsUndone(t *testing.T) {
	t.Parallel()
	w := client()
	l := late(w, "")
	l.Hold()
	l.Continue()
	_, _ = io.WriteString(l, "body")
	if l.Await() != nil || w.Body.String() != "body" {
		t.Errorf("got %s", w.Body)
	}
}

// The run of a client that has left writes nowhere, and a run that has ended is not held.
func TestNoClientAndNoRun(t *testing.T) {
	t.Parallel()
	w := client()
	l := late(w, "")
	if !l.Drop() {
		t.Error("not dropped")
	}
	if _, err := io.WriteString(l, "body"); err == nil || w.Body.Len() > 0 || l.Hold() {
		t.Errorf("got %v, %s", err, w.Body)
	}
	l = late(w, "")
	if l.Await() != nil || l.Hold() {
		t.Error("held after its end")
	}
}

func TestStoredResponses(t *testing.T) {
	t.Parallel()
	a, s := new(attempt), new(output.Stored)
	s.To(a)
	s.WriteHeader(103)
	s.Header().Set("Set-Cookie", "a=b")
	_, err := io.WriteString(s, "a")
	s.WriteHeader(500)
	s.Flush()
	if err != nil || a.status != 200 || len(a.header) != 0 || a.body.String() != "a" || s.Err() != nil {
		t.Errorf("stored %+v, %v", a, err)
	}
	a.err = jobs.ErrTooLarge
	if _, err := io.WriteString(s, "b"); !errors.Is(err, jobs.ErrTooLarge) || !errors.Is(s.Err(), jobs.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}
