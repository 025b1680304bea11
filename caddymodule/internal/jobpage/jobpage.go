// Package jobpage has the jobs of the status page: lists of jobs and single ones, as texts
// for its document and its script. It reads them from the admin endpoint.
package jobpage

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
)

// View is what a viewer looks at: one job, or a page of a list.
type View struct {
	Job                 string // its ID; empty: a list
	State, Route, After string // filters of the list, empty: all
}

// ViewOf returns the view of a query, and false if the query is not about jobs.
func ViewOf(query url.Values) (View, bool) {
	v := View{query.Get("job"), query.Get("state"), query.Get("route"), query.Get("after")}
	return v, v.Job != "" || query.Has("jobs")
}

// href returns the address of a view, relative to the page.
func (v View) href() string {
	query := url.Values{}
	for name, value := range map[string]string{"state": v.State, "route": v.Route, "after": v.After} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if encoded := query.Encode(); encoded != "" {
		return "?jobs&" + encoded
	}
	return "?jobs"
}

// Page has the texts of a view. Its JSON is for the script.
type Page struct {
	// Failed is why there are no jobs, empty if there are.
	Failed string   `json:"failed"`
	Facts  []Fact   `json:"facts"`
	States []Choice `json:"states"`
	// Routes are lines: name, queued, retrying, running, streaming, oldest, mean run, note.
	Routes [][]string `json:"routes"`
	Rows   []Row      `json:"rows"`
	// Older is the address of the next page, empty if there is none.
	Older  string  `json:"older"`
	Detail *Detail `json:"detail"` // nil in a list

	Filter View `json:"-"`
}

// Fact is a title with its value.
type Fact struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

// Choice is a link to the jobs in one state, with their number.
type Choice struct {
	Name  string `json:"name"`
	Count string `json:"count"`
	Href  string `json:"href"`
	// Current: the list has these jobs.
	Current bool `json:"current"`
}

// Row is a job of a list.
type Row struct {
	ID      string `json:"id"`
	Short   string `json:"short"`
	Route   string `json:"route"`
	State   string `json:"state"`
	Tone    string `json:"tone"` // the colour of the state
	Age     string `json:"age"`
	Attempt string `json:"attempt"`
	Result  string `json:"result"`
	Request string `json:"request"`
	Note    string `json:"note"`
	// Retry and Cancel are what an operator can do.
	Retry  bool `json:"retry"`
	Cancel bool `json:"cancel"`
}

// Detail is one job.
type Detail struct {
	Row      Row    `json:"row"`
	Progress string `json:"progress"`
	Percent  int    `json:"percent"`
	Facts    []Fact `json:"facts"`
	// Attempts are lines: generation, number, begin, duration, end, status, bytes.
	Attempts [][]string `json:"attempts"`
}

// states are those that lists can be filtered by.
var states = []string{"queued", "running", "retry_wait", "succeeded", "failed", "dead", "expired", "cancelled"}

// pageLength is how many jobs a list shows.
const pageLength = 50

// Get reads a path of the admin endpoint below /offload/.
type Get func(ctx context.Context, path string, into any) error

// Load reads a view. An error is a part of the page.
func Load(ctx context.Context, get Get, v View) Page {
	p := Page{Filter: v, Facts: []Fact{}, States: []Choice{}, Routes: [][]string{}, Rows: []Row{}}
	load := p.loadList
	if v.Job != "" {
		load = p.loadJob
	}
	if err := load(ctx, get, time.Now()); err != nil {
		p.Failed = err.Error()
	}
	return p
}

func (p *Page) loadJob(ctx context.Context, get Get, now time.Time) error {
	var job jobview.Job
	if err := get(ctx, jobview.Segment+"/"+url.PathEscape(p.Filter.Job), &job); err != nil {
		return err
	}
	detail := detailOf(&job, now)
	p.Detail = &detail
	return nil
}

func (p *Page) loadList(ctx context.Context, get Get, now time.Time) error {
	var summary jobview.Summary
	if err := get(ctx, jobview.Segment+"/usage", &summary); err != nil {
		return err
	}
	p.Facts = factsOf(&summary)
	for _, name := range states {
		choice := p.Filter
		choice.State, choice.After = name, ""
		p.States = append(p.States, Choice{words(name), humanize.Comma(summary.States[name]), choice.href(), name == p.Filter.State})
	}
	for _, r := range summary.Routes {
		note := ""
		if !r.Bound {
			note = "no configuration has this route: its jobs wait"
		}
		p.Routes = append(p.Routes, []string{
			r.Name, fmt.Sprint(r.Queued), fmt.Sprint(r.RetryWait), fmt.Sprint(r.Running), fmt.Sprint(r.Streaming),
			brief(r.Oldest), brief(r.MeanRun), note,
		})
	}
	query := url.Values{"limit": {fmt.Sprint(pageLength)}}
	for name, value := range map[string]string{"state": p.Filter.State, "route": p.Filter.Route, "after": p.Filter.After} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var list jobview.List
	if err := get(ctx, jobview.Segment+"?"+query.Encode(), &list); err != nil {
		return err
	}
	for i := range list.Jobs {
		p.Rows = append(p.Rows, rowOf(&list.Jobs[i], now))
	}
	if list.Next != "" {
		older := p.Filter
		older.After = list.Next
		p.Older = older.href()
	}
	return nil
}

func factsOf(s *jobview.Summary) []Fact {
	limit := "no limit"
	if s.Bytes.Limit > 0 {
		limit = "of " + size(s.Bytes.Limit)
	}
	recovery := fmt.Sprintf("%s, %d jobs that had not ended", brief(s.Recovery.Took), s.Recovery.Jobs)
	if s.Recovery.Crashed {
		recovery += fmt.Sprintf(", %d interrupted by a crash", s.Recovery.Interrupted)
	}
	return []Fact{
		{"stored", fmt.Sprintf("%s, %s", size(s.Bytes.Used()), limit)},
		{"bodies and results", size(s.Bytes.Bodies) + " and " + size(s.Bytes.Results)},
		{"database", fmt.Sprintf("%s, %s of it free", size(s.Bytes.Database), size(s.Bytes.Free))},
		{"pending webhooks", fmt.Sprint(s.Webhooks)},
		{"opened in", recovery},
		{"folder", s.Folder},
	}
}

// shortID is how much of an ID a list shows.
const shortID = 14

func rowOf(job *jobview.Job, now time.Time) Row {
	ended := !job.Ended.IsZero()
	return Row{
		ID: job.ID, Short: job.ID[:min(len(job.ID), shortID)], Route: job.Route, State: words(job.State), Tone: tones[job.State],
		Age: brief(now.Sub(job.Created)), Attempt: fmt.Sprintf("%d / %d", job.Attempt, job.MaxAttempts),
		Result: size(job.Bytes), Request: job.Request.Line(), Note: noteOf(job),
		Retry: ended, Cancel: !ended && job.Cancelled == nil,
	}
}

// tones are the colours of states.
var tones = map[string]string{
	"queued": "busy", "retry_wait": "busy", "running": "good", "streaming": "good",
	"succeeded": "idle", "cancelled": "idle", "failed": "bad", "dead": "bad", "expired": "bad",
}

func noteOf(job *jobview.Job) string {
	var all []string
	if job.WaitingFor != "" {
		all = append(all, "waits for "+job.WaitingFor)
	}
	if job.Position > 0 {
		all = append(all, fmt.Sprintf("place %d", job.Position))
	}
	if job.Cancelled != nil && job.Ended.IsZero() {
		all = append(all, "is being cancelled")
	}
	if text := job.Progress.Text(); text != "" && job.Ended.IsZero() {
		all = append(all, text)
	}
	if job.Reason != "" {
		all = append(all, words(job.Reason))
	}
	return strings.Join(all, ", ")
}

func detailOf(job *jobview.Job, now time.Time) Detail {
	d := Detail{Row: rowOf(job, now), Progress: job.Progress.Text(), Facts: []Fact{}, Attempts: [][]string{}}
	if job.Progress != nil {
		d.Percent = int(max(0, min(100, job.Progress.Percent)))
	}
	add := func(title, value string) {
		if value != "" {
			d.Facts = append(d.Facts, Fact{title, value})
		}
	}
	add("id", job.ID)
	add("route", job.Route)
	add("tenant", job.Tenant)
	add("client", job.Request.Client)
	add("body", strings.TrimSpace(size(job.Request.BodySize)+" "+job.Request.ContentType))
	add("created", moment(job.Created))
	add("not before", moment(job.NotBefore))
	add("ended", moment(job.Ended))
	add("kept until", moment(job.KeepUntil))
	if job.Cancelled != nil {
		add("cancelled", "by the "+job.Cancelled.By+", "+moment(job.Cancelled.At))
	}
	if r := job.Response; r != nil {
		add("response", fmt.Sprintf("status %d, %s %s", r.Status, size(job.Bytes), r.ContentType))
	}
	if h := job.Hook; h != nil {
		add("webhook", strings.TrimSpace(fmt.Sprintf("%s, %s, %d tries %s", h.URL, words(cmp.Or(h.State, "when the job has ended")), h.Tries, h.Error)))
	}
	for _, a := range job.Attempts {
		status := none
		if a.Status > 0 {
			status = fmt.Sprint(a.Status)
		}
		ended := words(cmp.Or(a.Class, "goes on"))
		if a.Reason != "" {
			ended += ": " + words(a.Reason)
		}
		d.Attempts = append(d.Attempts, []string{
			fmt.Sprint(a.Generation), fmt.Sprint(a.Number), moment(a.Began), brief(a.Took()), ended, status, size(a.Bytes),
		})
	}
	return d
}
