package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/cors"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/message"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// exposed are the fields of answers that scripts of other origins can read.
var exposed = []string{"Idempotency-Replayed", "Link", "Location", message.JobID, "Preference-Applied", "Retry-After"}

// applied returns the preferences of the client that count, as the field Preference-Applied.
func (s *submission) applied() string {
	var all []string
	if s.prefers.Async {
		all = append(all, "respond-async")
	}
	if s.prefers.Waits {
		all = append(all, "wait="+strconv.Itoa(int(s.wait/time.Second)))
	}
	return strings.Join(all, ", ")
}

// accepted is the body of an answer with a job.
type accepted struct {
	ID      jobs.ID    `json:"id"`
	State   jobs.State `json:"state"`
	Expires time.Time  `json:"expires,omitzero"`
	Links   struct {
		Self   string `json:"self"`
		Result string `json:"result"`
		Events string `json:"events"`
		Cancel string `json:"cancel"`
	} `json:"links"`
}

// answerJob answers with a job instead of a response.
func (s *submission) answerJob(view jobs.View) {
	path, h := s.path(view.ID), s.w.Header()
	doc := accepted{ID: view.ID, State: view.State, Expires: view.KeepUntil}
	doc.Links.Self, doc.Links.Result, doc.Links.Events, doc.Links.Cancel = path, path+"/result", path+"/events", path+"/cancel"
	text, err := json.Marshal(doc)
	if err != nil {
		panic(err) // cannot happen: texts and times
	}
	if cors.NamesOrigin(s.r) {
		cors.Expose(h, exposed)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", path)
	h.Set(message.JobID, view.ID.String())
	h.Set("Retry-After", strconv.Itoa(int(s.retryAfter(max(view.Position, 1)).Seconds())))
	h.Add("Link", fmt.Sprintf(`<%s>; rel="monitor", <%s>; rel="related"; title="result"`, doc.Links.Events, doc.Links.Result))
	if text := s.applied(); text != "" {
		h.Add("Preference-Applied", text)
	}
	s.w.WriteHeader(http.StatusAccepted)
	_, _ = s.w.Write(append(text, '\n')) // the job is stored, also for a client that has left
}

// Bounds of Retry-After.
const (
	leastRetry = time.Second
	mostRetry  = time.Minute
)

// retryAfter estimates when the job at a place of the queue will have run.
func (s *submission) retryAfter(place int) time.Duration {
	service, err := s.app.service()
	if err != nil {
		return leastRetry
	}
	stats := service.Stats().Routes[s.host.Name()]
	turns := math.Ceil(float64(place) / float64(max(stats.Running, 1)))
	estimate := min(max(stats.MeanRun.Seconds()*turns, leastRetry.Seconds()), mostRetry.Seconds())
	return time.Duration(math.Ceil(estimate)) * time.Second
}

// await answers with the response of a job that is stored if it ends in time, else with the
// job.
func (s *submission) await(service *jobs.Service, accepted jobs.Accepted) error {
	if accepted.Earlier {
		s.w.Header().Set("Idempotency-Replayed", "true")
	}
	ctx, cancel := context.WithTimeout(s.r.Context(), s.wait)
	defer cancel()
	view := accepted.View
	for !view.State.Terminal() && ctx.Err() == nil {
		next, err := service.Wait(ctx, view.ID, view.Version)
		if err != nil {
			break // the job is stored in any case
		}
		view = next
	}
	switch {
	case s.r.Context().Err() != nil:
		return nil // the client has left, and the job goes on
	case s.wait == 0 || !view.State.Terminal() || view.Response == nil || !view.Response.Complete:
		s.answerJob(view)
		return nil
	}
	return s.replay(service, view)
}

// replay answers with the stored response of a job that has ended.
func (s *submission) replay(service *jobs.Service, view jobs.View) error {
	result, err := service.Result(s.r.Context(), view.ID)
	if err != nil {
		s.answerJob(view)
		return nil
	}
	defer result.Close()
	h, response := s.w.Header(), view.Response
	for name, values := range message.Header(response.Header) {
		if name == "Vary" {
			values = append(h["Vary"], values...)
		}
		h[name] = values
	}
	if cors.NamesOrigin(s.r) {
		cors.Expose(h, exposed)
	}
	h.Set(message.JobID, view.ID.String())
	h.Set("Content-Length", strconv.FormatInt(response.Size, 10))
	if text := s.applied(); text != "" {
		h.Add("Preference-Applied", text)
	}
	if len(response.Trailer) > 0 {
		h.Del("Content-Length") // trailers need another framing
	}
	s.w.WriteHeader(response.Status)
	if err := s.copyResult(result); err != nil {
		panic(http.ErrAbortHandler)
	}
	for _, f := range response.Trailer {
		h.Add(http.TrailerPrefix+f.Name, f.Value)
	}
	return nil
}

// copyResult writes a complete result to the client.
func (s *submission) copyResult(result jobs.Reader) error {
	if s.r.Method == http.MethodHead {
		return nil
	}
	buf := make([]byte, 32<<10)
	for at := int64(0); ; {
		n, err := result.ReadAt(s.r.Context(), buf, at)
		if _, werr := s.w.Write(buf[:n]); werr != nil {
			return werr
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
