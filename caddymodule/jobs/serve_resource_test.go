package jobs_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A client finds its job at the path of the directive, on each version of HTTP, and another
// client does not.
func TestClientsFollowTheLocation(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	u := newUpstream()
	u.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "session=upstream")
		w.Header().Set("Content-Type", "text/csv")
		w.Header().Set("Server", "reports")
		_, _ = w.Write(large)
	}
	s := site.Serve(t, u, "offload_jobs /jobs/*\n"+route(long))
	ann, bob := []string{"Authorization", "Bearer ann"}, []string{"Authorization", "Bearer bob"}
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		res, body := site.Send(t, c, http.MethodPost, url+"/report", append(ann, "Prefer", "respond-async, wait=0")...)
		location := res.Header.Get("Location")
		if res.StatusCode != http.StatusAccepted || !strings.HasPrefix(location, "/jobs/") || !strings.Contains(body, location+"/result") {
			t.Fatalf("%v %s", res, body)
		}
		res, body = site.Send(t, c, http.MethodGet, url+location, append(ann, "Prefer", "wait=20")...)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, `"state":"succeeded"`) {
			t.Fatalf("%d %v, %d bytes", res.StatusCode, res.Header, len(body))
		}
		res, body = site.Send(t, c, http.MethodGet, url+location+"/result", ann...)
		if res.StatusCode != http.StatusOK || body != string(large) || res.Header.Get("Set-Cookie") != "" || res.Header.Get("Content-Type") != "text/csv" {
			t.Errorf("%d bytes, %d %v", len(body), res.StatusCode, res.Header)
		}
		if got := res.Header["Server"]; len(got) != 1 || got[0] != "reports" {
			t.Errorf("servers %q", got)
		}
		res, body = site.Send(t, c, http.MethodGet, url+location+"/result", append(ann, "Range", "bytes=1048570-", "If-Range", res.Header.Get("ETag"))...)
		if res.StatusCode != http.StatusPartialContent || body != "abcdef" {
			t.Errorf("%d %v, %d bytes", res.StatusCode, res.Header, len(body))
		}
		if _, body = site.Send(t, c, http.MethodGet, url+location+"/events", ann...); !strings.Contains(body, "event: done") {
			t.Errorf("events %s", body)
		}
		for _, part := range []string{"", "/result", "/events"} {
			res, body := site.Send(t, c, http.MethodGet, url+location+part, bob...)
			isProblem(t, res, body, http.StatusNotFound, "unknown_job")
		}
		if res, _ := site.Send(t, c, http.MethodDelete, url+location, ann...); res.StatusCode != http.StatusNoContent {
			t.Errorf("DELETE: %v", res)
		}
	})
}

// A client that cancels its job ends the request to the upstream, and can run it again.
func TestClientsCancelAndRetry(t *testing.T) {
	u := newUpstream()
	s := site.Serve(t, u, "offload_jobs /jobs/*\n"+route(long))
	url := "http://" + s.Clear
	res, _ := site.Send(t, http.DefaultClient, http.MethodPost, url+"/slow", "Prefer", "respond-async, wait=0")
	job := url + res.Header.Get("Location")
	testkit.Eventually(t, func() bool { return u.runs() == 1 })
	if res, body := site.Send(t, http.DefaultClient, http.MethodDelete, job); res.StatusCode != http.StatusAccepted || !strings.Contains(body, "cancel_requested") {
		t.Errorf("DELETE: %v %s", res, body)
	}
	res, body := site.Send(t, http.DefaultClient, http.MethodGet, job, "Prefer", "wait=20")
	if res.StatusCode != http.StatusOK || !strings.Contains(body, `"state":"cancelled"`) {
		t.Fatalf("%v %s", res, body)
	}
	res, body = site.Send(t, http.DefaultClient, http.MethodGet, job+"/result")
	isProblem(t, res, body, http.StatusGone, "cancelled")
	u.inside(t, 0)
	u.gate <- struct{}{}
	if res, body := site.Send(t, http.DefaultClient, http.MethodPost, job+"/retry"); res.StatusCode != http.StatusAccepted || !strings.Contains(body, `"generation":2`) {
		t.Errorf("retry: %v %s", res, body)
	}
	if res, body := site.Send(t, http.DefaultClient, http.MethodGet, job+"/result", "Prefer", "wait=20"); res.StatusCode != http.StatusOK || body != "answer 2 to " {
		t.Errorf("result: %v %s", res, body)
	}
}

// An upstream that breaks off cuts the answer of a client that follows the result.
func TestBrokenUpstreamCutsTheResult(t *testing.T) {
	u := newUpstream()
	die := make(chan struct{})
	u.answer = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("part"))
		_ = http.NewResponseController(w).Flush()
		<-die
		panic(http.ErrAbortHandler)
	}
	s := site.Serve(t, u, "offload_jobs /jobs/*\n"+route(long, "attempts 1"))
	url := "http://" + s.Clear
	res, _ := site.Send(t, http.DefaultClient, http.MethodPost, url+"/", "Prefer", "respond-async, wait=0")
	result := url + res.Header.Get("Location") + "/result"
	var follows *http.Response
	testkit.Eventually(t, func() bool {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, result, nil)
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got.StatusCode == http.StatusAccepted {
			got.Body.Close()
			return false
		}
		follows = got
		return true
	})
	defer follows.Body.Close()
	part := make([]byte, 4)
	if _, err := io.ReadFull(follows.Body, part); err != nil || string(part) != "part" {
		t.Fatalf("%q %v", part, err)
	}
	close(die)
	if rest, err := io.ReadAll(follows.Body); err == nil {
		t.Errorf("a clean end after %q", rest)
	}
	testkit.Eventually(t, func() bool {
		res, body := site.Send(t, http.DefaultClient, http.MethodGet, result)
		return res.StatusCode == http.StatusBadGateway && strings.Contains(body, `"attempts":[{`)
	})
}

// The option location has precedence, and without a directive there is a usual path.
func TestLocation(t *testing.T) {
	for body, want := range map[string]string{
		"offload_jobs /jobs/*\n" + route(long, "location /api/jobs"):                                           "/api/jobs/",
		"handle_path /api/* {\n\t\toffload_jobs /jobs/* {\n\t\t\tprefix /api/jobs\n\t\t}\n\t}\n" + route(long): "/api/jobs/",
		route(long): "/.jobs/",
	} {
		t.Run(want, func(t *testing.T) {
			s := site.Serve(t, newUpstream(), body)
			res, _ := site.Send(t, http.DefaultClient, http.MethodPost, "http://"+s.Clear+"/", "Prefer", "respond-async, wait=0")
			if got := res.Header.Get("Location"); !strings.HasPrefix(got, want) {
				t.Errorf("Location %q, want %s", got, want)
			}
		})
	}
}
