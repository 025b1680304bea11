package endpoint_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// begin sends a GET, and returns the response before its body has come.
func begin(t *testing.T, c *http.Client, url string, fields ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// A job goes through its life while clients poll it, follow its result and its events.
func TestLifeOfAJob(t *testing.T) {
	s := open(t, "offload_jobs /jobs/*\nrespond 404")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		more, end := make(chan bool), make(chan bool)
		defer s.service.Bind(t.Name(), work(func(a *jobs.Attempt) jobs.Verdict {
			_ = a.Begin(201, []jobs.Field{{Name: "Content-Type", Value: "text/csv"}})
			_, _ = a.Write([]byte("first,"))
			<-more
			a.Progress(jobs.Progress{Percent: 50, Message: "half"})
			_, _ = a.Write([]byte("second"))
			<-end
			return jobs.Verdict{Class: jobs.Completed}
		}), jobs.RouteLimits{})()
		id := s.accept(t, t.Name())
		job := url + "/jobs/" + id.String()
		testkit.Eventually(t, func() bool {
			res, text := site.Send(t, c, "GET", job, "Prefer", "wait=5", "If-None-Match", "\"none\"")
			return res.StatusCode == 200 && strings.Contains(text, `"state":"streaming"`)
		})
		result, events := begin(t, c, job+"/result"), begin(t, c, job+"/events")
		if result.StatusCode != 201 || result.Header.Get("Content-Type") != "text/csv" || events.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%v\n%v", result, events)
		}
		part := make([]byte, len("first,"))
		if _, err := io.ReadFull(result.Body, part); err != nil || string(part) != "first," {
			t.Fatalf("%q %v", part, err)
		}
		more <- true
		got := bufio.NewReader(events.Body)
		var text strings.Builder
		for !strings.Contains(text.String(), `"percent":50,"message":"half"`) {
			line, err := got.ReadString('\n')
			if err != nil {
				t.Fatalf("%v after %s", err, text.String())
			}
			text.WriteString(line)
		}
		if _, err := io.ReadFull(result.Body, part); err != nil || string(part) != "second" {
			t.Fatalf("%q %v", part, err)
		}
		close(end)
		if rest, err := io.ReadAll(result.Body); err != nil || len(rest) != 0 {
			t.Errorf("%q %v", rest, err)
		}
		rest, err := io.ReadAll(got)
		if err != nil || !strings.Contains(string(rest), "event: done\ndata: {\"state\":\"succeeded\"") {
			t.Errorf("%s %v", rest, err)
		}
		if res, text := site.Send(t, c, "GET", job+"/result"); res.StatusCode != 201 || text != "first,second" || res.Header.Get("ETag") != `"1.1"` {
			t.Errorf("%v %s", res, text)
		}
		if res, text := site.Send(t, c, "HEAD", job+"/result"); res.StatusCode != 201 || res.ContentLength != 12 || text != "" {
			t.Errorf("%v %s", res, text)
		}
		if res, _ := site.Send(t, c, "DELETE", job); res.StatusCode != 204 {
			t.Errorf("DELETE: %v", res)
		}
		if res, text := site.Send(t, c, "GET", job); res.StatusCode != 404 || !strings.Contains(text, "unknown_job") {
			t.Errorf("%v %s", res, text)
		}
	})
}

// An attempt that dies cuts the answers of its readers, on each version of HTTP.
func TestAbortedAttempt(t *testing.T) {
	s := open(t, "offload_jobs /jobs/*\nrespond 404")
	s.EachVersion(func(t *testing.T, c *http.Client, url string) {
		die := make(chan bool)
		defer s.service.Bind(t.Name(), work(func(a *jobs.Attempt) jobs.Verdict {
			_ = a.Begin(200, nil)
			_, _ = a.Write([]byte("part"))
			<-die
			return jobs.Verdict{Class: jobs.Broken, Reason: "reset"}
		}), jobs.RouteLimits{})()
		job := url + "/jobs/" + s.accept(t, t.Name()).String()
		testkit.Eventually(t, func() bool {
			_, text := site.Send(t, c, "GET", job)
			return strings.Contains(text, `"state":"streaming"`)
		})
		res := begin(t, c, job+"/result")
		part := make([]byte, 4)
		if _, err := io.ReadFull(res.Body, part); err != nil {
			t.Fatal(err)
		}
		close(die)
		if rest, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("a clean end after %q", rest)
		}
		testkit.Eventually(t, func() bool {
			res, text := site.Send(t, c, "GET", job+"/result")
			return res.StatusCode == 502 && strings.Contains(text, `"reason":"reset"`)
		})
	})
}

// Clients with other credentials do not find the job; signed links need none.
func TestAccess(t *testing.T) {
	s := open(t, "offload_jobs /jobs/*\nrespond 404")
	c := http.DefaultClient
	url := "http://" + s.Clear
	defer s.service.Bind("r", work(func(a *jobs.Attempt) jobs.Verdict {
		_ = a.Begin(200, nil)
		_, _ = a.Write([]byte("secret"))
		return jobs.Verdict{Class: jobs.Completed}
	}), jobs.RouteLimits{})()
	id := s.accept(t, "r", func(sub *jobs.Submission) { sub.Owner = [32]byte{1} })
	for _, part := range []string{"", "/result", "/events"} {
		if res, _ := site.Send(t, c, "GET", url+"/jobs/"+id.String()+part, "Authorization", "Bearer ann"); res.StatusCode != 404 {
			t.Errorf("%s of another client: %d", part, res.StatusCode)
		}
	}
	free := s.accept(t, "r")
	res, text := site.Send(t, c, "POST", url+"/jobs/"+free.String()+"/links")
	var answer struct{ Links struct{ Result string } }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || res.StatusCode != 200 {
		t.Fatalf("%v: %d %s", err, res.StatusCode, text)
	}
	testkit.Eventually(t, func() bool {
		_, text := site.Send(t, c, "GET", url+answer.Links.Result)
		return text == "secret"
	})
	// The secret outlives the configuration, in a file that others cannot read.
	info, err := os.Stat(filepath.Join(s.folder, "links.key"))
	if err != nil || info.Size() != 32 || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	s.Load("offload_jobs /jobs/*\nrespond 404")
	if res, text := site.Send(t, c, "GET", url+answer.Links.Result); text != "secret" {
		t.Errorf("after a reload: %v", res)
	}
	s.Load("offload_jobs /jobs/* {\n\tlink_secret " + strings.Repeat("x", 32) + "\n}\nrespond 404")
	if res, _ := site.Send(t, c, "GET", url+answer.Links.Result); res.StatusCode != 404 {
		t.Errorf("with another secret: %v", res)
	}
}

// A reload ends streams of events, and a client that comes back goes on. A result
// that is being read is read to its end.
func TestReload(t *testing.T) {
	s := open(t, "offload_jobs /jobs/*\nrespond 404")
	c, end := http.DefaultClient, make(chan bool)
	defer s.service.Bind("r", work(func(a *jobs.Attempt) jobs.Verdict {
		_ = a.Begin(200, nil)
		_, _ = a.Write([]byte("one "))
		<-end
		_, _ = a.Write([]byte("two"))
		return jobs.Verdict{Class: jobs.Completed}
	}), jobs.RouteLimits{})()
	job := "http://" + s.Clear + "/jobs/" + s.accept(t, "r").String()
	testkit.Eventually(t, func() bool {
		_, text := site.Send(t, c, "GET", job)
		return strings.Contains(text, `"state":"streaming"`)
	})
	events, result := begin(t, c, job+"/events"), begin(t, c, job+"/result")
	lines := bufio.NewScanner(events.Body)
	last := ""
	for last == "" && lines.Scan() {
		last, _ = strings.CutPrefix(lines.Text(), "id: ")
		if !strings.HasPrefix(lines.Text(), "id: ") {
			last = ""
		}
	}
	s.Load("offload_jobs /jobs/*\nrespond 405")
	if _, err := io.ReadAll(events.Body); err != nil {
		t.Errorf("the stream: %v", err)
	}
	events = begin(t, c, job+"/events", "Last-Event-ID", last)
	close(end)
	text, err := io.ReadAll(events.Body)
	if err != nil || strings.Contains(string(text), "event: state") || !strings.Contains(string(text), "event: done") {
		t.Errorf("the next stream: %s %v", text, err)
	}
	if text, err := io.ReadAll(result.Body); err != nil || string(text) != "one two" {
		t.Errorf("the result: %q %v", text, err)
	}
}

// Links begin with the path that the client has sent.
func TestLinksBehindOtherDirectives(t *testing.T) {
	s := open(t, "handle_path /api/* {\n\toffload_jobs /jobs/*\n}\nrespond 404")
	id := s.accept(t, "r").String()
	_, text := site.Send(t, http.DefaultClient, "GET", "http://"+s.Clear+"/api/jobs/"+id)
	if !strings.Contains(text, `"result":"/api/jobs/`+id+`/result"`) {
		t.Error(text)
	}
}

// A site that compresses and one that does not send the same events, at once.
func TestCompressedSite(t *testing.T) {
	s := open(t, "encode\noffload_jobs /jobs/*\nrespond 404")
	id := s.accept(t, "r")
	events := begin(t, http.DefaultClient, "http://"+s.Clear+"/jobs/"+id.String()+"/events", "Accept-Encoding", "gzip")
	line, err := bufio.NewReader(events.Body).ReadString('\n')
	if err != nil || line != "retry: 2000\n" || events.Header.Get("Content-Encoding") != "" {
		t.Errorf("%q %v %v", line, err, events.Header)
	}
	if _, err := s.service.Cancel(t.Context(), id, "operator"); err != nil {
		t.Error(err)
	}
}
