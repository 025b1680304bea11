package resource

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/problem"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// looks is how often a request looks for the result of a job whose attempts end meanwhile.
const looks = 3

// readResult answers with the response of the job, as far as it is there.
func readResult(c *call) {
	if !c.wait(begun) {
		return
	}
	for range looks {
		if c.view.State != jobs.Streaming && !hasResult(&c.view) {
			break
		}
		reader, head, err := openResult(c)
		if err == nil {
			sendResult(c, reader, head)
			return
		}
		if !errors.Is(err, jobs.ErrNoResult) {
			c.fail(err)
			return
		}
		if c.view, err = c.jobs.Get(c.r.Context(), c.id); err != nil {
			c.fail(err)
			return
		}
	}
	withoutResult(c)
}

// begun reports whether the response of the job has begun.
func begun(v *jobs.View) bool { return v.State == jobs.Streaming }

// openResult opens the result of the last attempt, and returns the head of its response.
func openResult(c *call) (jobs.Reader, *jobs.Response, error) {
	reader, err := c.jobs.Result(c.r.Context(), c.id)
	if err != nil {
		return nil, nil, err
	}
	head, err := reader.Head(c.r.Context())
	if err != nil {
		_ = reader.Close() // it was read only
		return nil, nil, err
	}
	return reader, head, nil
}

// withoutResult answers for a job that has no response, now or for good.
func withoutResult(c *call) {
	c.w.Header().Set("Server-Timing", timing(&c.view, time.Now()))
	switch c.view.State {
	case jobs.Succeeded, jobs.Failed, jobs.Dead:
		t := problem.NoResult
		if late(&c.view) {
			t = problem.NoResultInTime
		}
		answerEnded(c, t)
	case jobs.Cancelled:
		answerEnded(c, problem.Cancelled)
	case jobs.Expired:
		answerEnded(c, problem.Expired)
	default:
		c.hint()
		c.w.Header().Set("Location", c.path(c.id, ""))
		c.write(http.StatusAccepted)
	}
}

// answerEnded answers with the problem of a job that has ended, and its attempts.
func answerEnded(c *call, t problem.Type) {
	c.w.Header().Set("Offload-Job-State", c.view.State.String())
	more := map[string]any{"id": c.id, "state": c.view.State, "attempts": attemptsOf(c.view.Attempts)}
	if c.view.Reason != "" {
		more["job_reason"] = c.view.Reason
	}
	c.problem(problem.Problem{Type: t, More: more})
}

// late reports whether the job has ended because it took too long.
func late(v *jobs.View) bool {
	reasons := v.Reason
	if n := len(v.Attempts); n > 0 {
		reasons += " " + v.Attempts[n-1].Reason
	}
	return strings.Contains(reasons, "timeout") || strings.Contains(reasons, "total_time")
}

// dropped are the fields of stored responses that are not sent: those of the connection to
// the upstream, those that are for the client of the submission alone, and those that this
// package sets.
var dropped = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "proxy-authenticate": true, "te": true,
	"trailer": true, "transfer-encoding": true, "upgrade": true, "content-length": true,
	"set-cookie": true, "set-cookie2": true, "clear-site-data": true,
	"accept-ranges": true, "age": true, "cache-control": true, "etag": true, "expires": true, "pragma": true,
	"referrer-policy": true, "retry-after": true, "vary": true, "x-content-type-options": true,
	"offload-job-id": true, "offload-job-state": true,
}

// setFields sets the fields of the response of an attempt.
func setFields(c *call, b *body) {
	h := c.w.Header()
	for _, f := range b.head.Header {
		if strings.EqualFold(f.Name, "Server") {
			h.Del("Server") // of this proxy: a response has one, as with reverse_proxy
		}
		if !dropped[strings.ToLower(f.Name)] {
			h.Add(f.Name, f.Value)
		}
	}
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // net/http must not guess it
	}
	h.Set("Cache-Control", "no-store")
	if b.complete {
		h.Set("Cache-Control", "private, no-cache")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", b.tag)
	h.Add("Server-Timing", timing(&c.view, time.Now()))
	h.Set("Offload-Job-State", c.view.State.String())
	if b.head.Status == http.StatusOK {
		h.Set("Accept-Ranges", "bytes")
	}
}

// sendResult answers with a response and the part of its body that the client wants.
func sendResult(c *call, reader jobs.Reader, head *jobs.Response) {
	b := newBody(reader, head, c.view.Request.Method)
	defer b.Close()
	if !b.complete {
		leave, ok := c.readers.enter(c.id, c.options.Limits.Readers)
		if !ok {
			c.reject(problem.TooManyReaders)
			return
		}
		defer leave()
	}
	plain := b.head.Status == http.StatusOK
	if plain && b.complete && matches(c.r.Header.Values("If-None-Match"), b.tag, true) {
		setFields(c, b)
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	if known := c.r.Header.Values("If-Match"); plain && len(known) > 0 && !matches(known, b.tag, false) {
		c.reject(problem.Changed)
		return
	}
	if a, ok := wantsRange(c, b); ok {
		sendRange(c, b, a)
		return
	}
	sendWhole(c, b)
}

func sendWhole(c *call, b *body) {
	setFields(c, b)
	if b.length >= 0 && len(b.head.Trailer) == 0 && hasBody(b.head.Status) {
		c.w.Header().Set("Content-Length", strconv.FormatInt(b.length, 10))
	}
	c.w.WriteHeader(b.head.Status)
	if hasBody(b.head.Status) && sendBytes(c, b, 0, -1) {
		for _, f := range b.head.Trailer {
			c.w.Header().Add(http.TrailerPrefix+f.Name, f.Value)
		}
	}
}

// wantsRange returns the range that the client wants, if it wants one.
func wantsRange(c *call, b *body) (a asked, ok bool) {
	fields, same := c.r.Header["Range"], c.r.Header.Values("If-Range")
	if b.head.Status != http.StatusOK || c.r.Method != http.MethodGet || len(fields) != 1 {
		return asked{}, false
	}
	if len(same) > 0 && (len(same) != 1 || same[0] != b.tag) {
		return asked{}, false
	}
	if a, ok = parseRange(fields[0]); ok && a.suffix >= 0 && b.length < 0 {
		return asked{}, false // where the last bytes are is not known: the answer has all
	}
	return a, ok
}

// sendRange answers with a part of the result.
func sendRange(c *call, b *body, a asked) {
	if b.length < 0 && a.first >= b.size && !reaches(c, b, a.first) {
		return
	}
	switch {
	case b.length < 0:
		sendGrowing(c, b, a)
		return
	case b.length == 0: // clients that send a range with each request get their answer
		sendWhole(c, b)
		return
	}
	s, ok := a.of(b.length)
	if !ok {
		c.w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(b.length, 10))
		c.reject(problem.BadRange)
		return
	}
	sendSpan(c, b, s)
}

func sendSpan(c *call, b *body, s span) {
	setFields(c, b)
	h := c.w.Header()
	h.Set("Content-Range", s.content(b.length))
	h.Set("Content-Length", strconv.FormatInt(s.last-s.first+1, 10))
	c.w.WriteHeader(http.StatusPartialContent)
	sendBytes(c, b, s.first, s.last+1)
}

// reaches waits until a growing result has a byte at a place, or is complete. It returns
// false if it has answered.
func reaches(c *call, b *body, place int64) bool {
	_, err := b.ReadAt(c.r.Context(), make([]byte, 1), place)
	ended := isEnd(err)
	if err != nil && !ended {
		abort()
	}
	if b.size, b.complete = b.Size(); ended {
		b.complete, b.length = true, b.size
	}
	return err == nil || ended
}

// sendGrowing answers with a part of a result whose length is not known.
func sendGrowing(c *call, b *body, a asked) {
	s, follow := a.ofGrowing(b.size)
	if !follow {
		sendSpan(c, b, s)
		return
	}
	setFields(c, b)
	c.w.Header().Set("Content-Range", s.content(-1))
	c.w.WriteHeader(http.StatusPartialContent)
	sendBytes(c, b, s.first, -1)
}
