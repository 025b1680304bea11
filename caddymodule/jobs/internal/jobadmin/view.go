package jobadmin

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// view returns a job in the form of the endpoint, without secrets.
func view(v *jobs.View) jobview.Job {
	job := jobview.Job{
		ID: v.ID.String(), Route: v.Route, Tenant: v.Tenant, State: v.State.String(),
		Reason: v.Reason, WaitingFor: v.WaitingFor, Position: v.Position,
		Created: v.Created, NotBefore: v.NotBefore, Ended: v.Ended, KeepUntil: v.KeepUntil,
		Generation: v.Generation, Attempt: v.Attempt, MaxAttempts: v.Policy.MaxAttempts,
		Repeatable: v.Repeatable, Crashes: v.Crashes, Attempts: []jobview.Attempt{},
		Bytes: v.Bytes,
	}
	for _, a := range v.Attempts {
		job.Attempts = append(job.Attempts, jobview.Attempt{
			Generation: a.Generation, Number: a.Number, Began: a.Began, Ended: a.Ended,
			Class: string(a.Class), Reason: a.Reason, Status: a.Status, Bytes: a.Bytes,
		})
	}
	if v.Cancel != nil {
		job.Cancelled = &jobview.Cancel{At: v.Cancel.At, By: v.Cancel.By}
	}
	path, _, _ := strings.Cut(v.Request.URI, "?")
	job.Request = jobview.Request{
		Method: v.Request.Method, Host: v.Request.Host, Path: path, Client: v.Request.Remote,
		ContentType: contentType(v.Request.Header), BodySize: v.BodySize, Keyed: v.Key != nil,
	}
	if r := v.Response; r != nil {
		job.Response = &jobview.Response{Status: r.Status, ContentType: contentType(r.Header), Size: r.Size, Complete: r.Complete}
	}
	if !v.Progress.At.IsZero() {
		job.Progress = &jobview.Progress{Percent: v.Progress.Percent, Message: v.Progress.Message, At: v.Progress.At}
	}
	if h := v.Hook; h != nil {
		job.Hook = &jobview.Hook{URL: endpoint(h.URL), State: string(h.State), Tries: h.Tries, Next: h.Next, Error: h.Error}
	}
	return job
}

func contentType(header []jobs.Field) string {
	for _, f := range header {
		if strings.EqualFold(f.Name, "Content-Type") {
			return f.Value
		}
	}
	return ""
}

// endpoint returns the URL of a webhook without userinfo and query, which may hold secrets.
func endpoint(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// summary returns the numbers of a store in the form of the endpoint.
func summary(folder string, stats jobs.Stats, usage jobs.Usage) jobview.Summary {
	s := jobview.Summary{
		Folder: folder, Routes: []jobview.Route{}, States: make(map[string]int64, len(usage.States)),
		Bytes:    jobview.Bytes{Database: usage.FileBytes, Free: usage.FreeBytes, Bodies: usage.BodyBytes, Results: usage.ResultSize, Limit: usage.Limit},
		Webhooks: stats.HookBacklog,
		Recovery: jobview.Recovery{Took: stats.Recovery.Took, Crashed: stats.Recovery.Crashed, Jobs: stats.Recovery.Jobs, Interrupted: stats.Recovery.Interrupted},
	}
	for name, r := range stats.Routes {
		s.Routes = append(s.Routes, jobview.Route{
			Name: name, Bound: r.Bound, Queued: r.Queued, RetryWait: r.RetryWait, Running: r.Running, Streaming: r.Streaming,
			Oldest: r.Oldest, MeanRun: r.MeanRun,
		})
	}
	slices.SortFunc(s.Routes, func(a, b jobview.Route) int { return cmp.Compare(a.Name, b.Name) })
	for _, state := range jobs.States() {
		if state != jobs.Streaming { // it is stored as running
			s.States[state.String()] = usage.States[state]
		}
	}
	return s
}
