package resource

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

func document3(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../../../../docs/jobs-openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// The document has the parts and methods of this package, apart from reports of upstreams.
func TestOpenAPIHasAllParts(t *testing.T) {
	t.Parallel()
	doc := document3(t)
	got := make(map[string]bool)
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			got[method+" "+path] = true
		}
	}
	want := map[string]bool{"GET /": true}
	for part, m := range parts {
		for method := range m {
			if part != reportPart {
				want[strings.TrimSuffix(method+" /{id}/"+part, "/")] = true
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the document has %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// checkAnswer checks an answer against the document.
func checkAnswer(t *testing.T, doc *openapi3.T, method, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	op := doc.Paths.Value(path).GetOperation(method)
	ref := op.Responses.Value(strconv.Itoa(w.Code))
	if ref == nil {
		t.Errorf("%s %s: status %d is not in the document: %s", method, path, w.Code, w.Body)
		return
	}
	if len(ref.Value.Content) == 0 || w.Body.Len() == 0 {
		return
	}
	media := ref.Value.Content.Get(w.Header().Get("Content-Type"))
	if media == nil {
		t.Errorf("%s %s: %d has the type %q", method, path, w.Code, w.Header().Get("Content-Type"))
		return
	}
	if media.Schema == nil {
		return
	}
	var value any
	if err := json.NewDecoder(bytes.NewReader(w.Body.Bytes())).Decode(&value); err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return
	}
	if err := media.Schema.Value.VisitJSON(value); err != nil {
		t.Errorf("%s %s: %d %s: %v", method, path, w.Code, w.Body, err)
	}
}

func TestAnswersAreAsDocumented(t *testing.T) {
	t.Parallel()
	doc := document3(t)
	s := site(t, func(o *Options) { o.List = true })
	ann := ownedBy(identity(t, "Bearer ann"))
	rich := func(j *fakeJob) {
		now := time.Now()
		j.Reason, j.NotBefore, j.Ended, j.KeepUntil, j.WaitingFor, j.Position = "reason", now, now, now, "permit", 2
		j.Cancel = &jobs.Cancel{At: now, By: byOwner}
		j.Progress = jobs.Progress{Percent: 3, Message: "text", At: now}
		j.Hook = &jobs.Hook{State: jobs.HookPending, Tries: 1, Next: now, Error: "status_500"}
		j.Attempts = []jobs.AttemptRecord{{Generation: 1, Number: 1, Began: now, Ended: now, Class: jobs.Broken, Reason: "reset", Status: 500, Bytes: 3}}
	}
	for _, state := range jobs.States() {
		for part, m := range parts {
			for method := range m {
				id := s.add(state, ann, rich)
				if state == jobs.Streaming || part == "events" && !state.Terminal() || part == reportPart {
					continue // these do not end
				}
				w := s.do(t, method, jobPath(id, part), "Authorization", "Bearer ann")
				checkAnswer(t, doc, method, strings.TrimSuffix("/{id}/"+part, "/"), w)
				checkAnswer(t, doc, method, strings.TrimSuffix("/{id}/"+part, "/"), s.do(t, method, jobPath(id, part)))
				if method != http.MethodGet && part != "links" {
					checkAnswer(t, doc, method, strings.TrimSuffix("/{id}/"+part, "/"), s.do(t, method, jobPath(s.add(state), part), "If-Match", `"x"`))
				}
			}
		}
	}
	for _, query := range []string{"", "?limit=2", "?limit=x", "?" + url.Values{"state": {"dead"}}.Encode()} {
		checkAnswer(t, doc, "GET", "/", s.do(t, "GET", "/jobs/"+query, "Authorization", "Bearer ann"))
		checkAnswer(t, doc, "GET", "/", s.do(t, "GET", "/jobs/"+query))
	}
}
