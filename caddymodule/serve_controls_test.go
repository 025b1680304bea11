package caddymodule_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// serveHandler runs a handler behind offload with these words.
func serveHandler(t *testing.T, words string, f func(w http.ResponseWriter, r *http.Request) error) (*site.Site, *operator) {
	t.Helper()
	return serveOperated(t, nil, "offload {\n name controls\n "+words+"\n }\n "+site.HandleBehind(t, f))
}

// A handler that sets a deadline for each write, as a Mercure hub does for each subscriber,
// reports a fault of the program if deadlines are not supported.
func TestHandlersMayBoundTheirWrites(t *testing.T) {
	s, _ := serveHandler(t, "", func(w http.ResponseWriter, _ *http.Request) error {
		c := http.NewResponseController(w)
		for i := range 3 {
			if err := errors.Join(c.SetWriteDeadline(time.Now().Add(time.Minute)), c.SetReadDeadline(time.Time{}), c.EnableFullDuplex()); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "event %d\n", i); err != nil {
				return err
			}
			if err := errors.Join(c.Flush(), c.SetWriteDeadline(time.Time{})); err != nil {
				return err
			}
		}
		return nil
	})
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		if res, text := site.Get(t, c, url); res.StatusCode != 200 || text != "event 0\nevent 1\nevent 2\n" {
			t.Errorf("got %d %q", res.StatusCode, text)
		}
	})
}

// Bytes after the write deadline are not written. The client gets those before it, cut.
func TestWritesAfterTheirDeadlineFail(t *testing.T) {
	arrived, late := make(chan bool), make(chan error, 1)
	s, _ := serveHandler(t, "", func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, "in time")
		c := http.NewResponseController(w)
		_ = c.Flush()
		<-arrived
		_ = c.SetWriteDeadline(time.Now())
		_, err := io.WriteString(w, "late")
		late <- err
		return nil
	})
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		buf := make([]byte, len("in time"))
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "in time" {
			t.Errorf("got %q, %v", buf, err)
		}
		arrived <- true
		if rest, err := readAll(res.Body); rest != "" || err == nil {
			t.Errorf("then %q, %v: want a cut", rest, err)
		}
		if err := <-late; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the late write: %v", err)
		}
	})
}

// A handler leaves a client that reads nothing, by its own write deadline.
func TestDeadlinesEndBlockedWrites(t *testing.T) {
	late := make(chan error, 1)
	s, o := serveHandler(t, "response_spool 64KiB", func(w http.ResponseWriter, _ *http.Request) error {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Second))
		for piece := []byte(strings.Repeat("x", 32<<10)); ; {
			if _, err := w.Write(piece); err != nil {
				late <- err
				return nil
			}
		}
	})
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := <-late; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the blocked write: %v", err)
		}
		o.eventually("controls", func(p object) bool { return p["running"] == 0.0 })
		if _, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Error("what is missing looks like the end")
		}
	})
	if ended := o.get("pools/{name}", "controls")["ended_total"].(object); ended["excluded"] != 3.0 {
		t.Errorf("they have ended as %v, want excluded", ended)
	}
}

// The read deadline applies to the body in the spool. On HTTP/1 a deadline of the
// connection would look like a client that has left.
func TestReadDeadlinesAreTheBodys(t *testing.T) {
	s, _ := serveHandler(t, "", func(w http.ResponseWriter, r *http.Request) error {
		c := http.NewResponseController(w)
		_ = c.SetReadDeadline(time.Now())
		_, late := io.ReadAll(r.Body)
		_ = c.SetReadDeadline(time.Time{})
		rest, err := io.ReadAll(r.Body)
		testkit.Quiet(10 * time.Millisecond) // for an effect of the deadline on the connection
		_, _ = fmt.Fprintf(w, "%t %q %v %v", errors.Is(late, os.ErrDeadlineExceeded), rest, err, r.Context().Err())
		return nil
	})
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, err := c.Post(url, "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if text, err := readAll(res.Body); text != `true "hello" <nil> <nil>` || err != nil {
			t.Errorf("with a body: %s, %v", text, err)
		}
		if res, text := site.Get(t, c, url); res.StatusCode != 200 || !strings.HasSuffix(text, `"" <nil> <nil>`) {
			t.Errorf("without a body: %d %s", res.StatusCode, text)
		}
	})
	for _, line := range s.AccessLog(6) {
		if line["status"] != 200.0 {
			t.Errorf("logged as %v", line["status"])
		}
	}
}
