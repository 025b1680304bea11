package progress_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobprogress"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// said is a report without its time.
type said struct {
	percent float64
	message string
}

func of(p jobs.Progress) said { return said{p.Percent, p.Message} }

func TestFields(t *testing.T) {
	long := strings.Repeat("x", 300)
	for field, want := range map[string]*said{
		`42`:                      {42, ""},
		`42.5; msg="page 3 of 7"`: {42.5, "page 3 of 7"},
		`42; msg=%"caf%c3%a9"`:    {42, "café"},
		`42; other=1`:             {42, ""},
		`42; msg=1`:               {42, ""},
		`-1`:                      {0, ""},
		`101`:                     {100, ""},
		`1; msg="` + long + `"`:   {1, long[:256]},
		``:                        nil,
		`half`:                    nil,
		`"42"`:                    nil,
		`42, 43`:                  nil,
		`42; msg="`:               nil,
	} {
		p, ok := progress.FromField(http.Header{"Offload-Progress": {field}})
		if ok != (want != nil) || (ok && (of(p) != *want || time.Since(p.At) > time.Minute)) {
			t.Errorf("%s: %+v, %t, want %+v", field, p, ok, want)
		}
	}
	if _, ok := progress.FromField(http.Header{}); ok {
		t.Error("no field is a report")
	}
	if _, ok := progress.FromField(http.Header{"Offload-Progress": {"1", "2"}}); ok {
		t.Error("two fields are a report")
	}
}

func TestBodies(t *testing.T) {
	const form, js = "application/x-www-form-urlencoded", "application/json; charset=utf-8"
	for _, test := range []struct {
		contentType, body string
		want              *said
	}{
		{js, `{"percent": 42, "message": "page 3"}`, &said{42, "page 3"}},
		{js, `{"percent": 0}`, &said{0, ""}},
		{js, `{"message": "begun"}`, &said{-1, "begun"}},
		{"", `{"percent": 1e300}`, &said{100, ""}},
		{js, `{"percent": -3}`, &said{0, ""}},
		{js, `{}`, nil},
		{js, `{"percent": "42"}`, nil},
		{js, `[42]`, nil},
		{js, `null`, nil},
		{js, ``, nil},
		{js, `{"percent": 42, "message": "` + strings.Repeat("x", 4<<10) + `"}`, nil},
		{form, "percent=42&message=page+3", &said{42, "page 3"}},
		{form, "message=begun", &said{-1, "begun"}},
		{form, "percent=x", nil},
		{form, "percent=NaN", nil},
		{form, "percent=Inf", &said{100, ""}},
		{form, "percent=", nil},
		{form, "%", nil},
		{form, "", nil},
	} {
		p, err := progress.FromBody(test.contentType, strings.NewReader(test.body))
		if (err == nil) != (test.want != nil) || (err == nil && of(p) != *test.want) {
			t.Errorf("%s %.60s: %+v, %v, want %+v", test.contentType, test.body, p, err, test.want)
		}
	}
}

// reports collects reports.
type reports []said

func (r *reports) add(p jobs.Progress) { *r = append(*r, of(p)) }

func (r *reports) want(t *testing.T, when string, want ...said) {
	t.Helper()
	if len(*r) != len(want) {
		t.Fatalf("%s: the reports are %v, want %v", when, *r, want)
	}
	for i := range want {
		if (*r)[i] != want[i] {
			t.Errorf("%s: the reports are %v, want %v", when, *r, want)
		}
	}
}

// A client that waits for the response gets the reports until it has a job instead. Then the
// job has the last one.
func TestReportsGoToTheClientOrToTheJob(t *testing.T) {
	var sink progress.Sink
	var job reports
	client := httptest.NewRecorder()
	w := progress.Catch(&informed{ResponseRecorder: client}, &sink)
	inform := func(field string) {
		w.Header().Set("Offload-Progress", field)
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Offload-Progress")
	}
	inform("1")
	inform("2")
	sink.To(job.add)
	job.want(t, "at the begin of the job", said{2, ""})
	inform("3")
	inform("x")
	w.WriteHeader(http.StatusEarlyHints)
	w.Header().Set("Offload-Progress", "100")
	w.WriteHeader(http.StatusOK)
	jobprogress.Report(sink.Within(t.Context()), jobs.Progress{Percent: 4, Message: "by a handler"})
	jobprogress.Report(t.Context(), jobs.Progress{Percent: 5}) // of a request that is no job
	job.want(t, "after the head", said{2, ""}, said{3, ""}, said{4, "by a handler"})
	if got, want := client.Header()["Informed"], "1 2 x  "; strings.Join(got, " ")+" " != want {
		t.Errorf("the client got the informational heads '%s', want '%s'", strings.Join(got, " "), want)
	}
	if client.Code != http.StatusOK {
		t.Errorf("the client got the status %d", client.Code)
	}
}

// informed notes informational heads, which a recorder drops.
type informed struct{ *httptest.ResponseRecorder }

func (i *informed) WriteHeader(status int) {
	if status < http.StatusOK {
		h := i.Header()
		h.Add("Informed", h.Get("Offload-Progress"))
		return
	}
	i.ResponseRecorder.WriteHeader(status)
}

func TestTheWriterKeepsWhatWritersCan(t *testing.T) {
	recorder := httptest.NewRecorder()
	w := progress.Catch(recorder, new(progress.Sink))
	if err := http.NewResponseController(w).Flush(); err != nil || !recorder.Flushed {
		t.Errorf("flushing: %v", err)
	}
}

func TestOnlyTheTokenOfTheAttemptReports(t *testing.T) {
	var board progress.Board
	var first, second, other reports
	id, otherID := jobs.NewID(time.Now()), jobs.NewID(time.Now())
	p := jobs.Progress{Percent: 1}
	firstToken, removeFirst := board.Add(id, first.add)
	otherToken, removeOther := board.Add(otherID, other.add)
	if !board.Report(id, firstToken, p) || board.Report(id, "", p) || board.Report(id, otherToken, p) {
		t.Error("another token than that of the attempt reports")
	}
	secondToken, removeSecond := board.Add(id, second.add)
	removeFirst() // later than the begin of the second attempt
	if board.Report(id, firstToken, p) || !board.Report(id, secondToken, p) {
		t.Error("the earlier attempt reports")
	}
	removeSecond()
	removeOther()
	if board.Report(id, secondToken, p) || board.Report(otherID, otherToken, p) {
		t.Error("an attempt that has ended reports")
	}
	first.want(t, "the first attempt", said{1, ""})
	second.want(t, "the second attempt", said{1, ""})
	other.want(t, "the other job")
}

func TestURLs(t *testing.T) {
	id := jobs.NewID(time.Now())
	u, err := url.Parse(progress.URL("http://127.0.0.1:8080/.jobs/", id, "a+b"))
	if err != nil || u.Path != "/.jobs/"+id.String()+"/progress" || u.Query().Get("token") != "a+b" {
		t.Errorf("the URL is %s, %v", u, err)
	}
}
