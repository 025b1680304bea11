package resource

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/cors"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/problem"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// methods are the functions for each method of a part. HEAD is as GET.
type methods map[string]func(*call)

// parts are the parts of a job by the end of their paths; "" is the job. It is written at
// the start alone.
var parts = map[string]methods{
	"":       {http.MethodGet: showJob, http.MethodDelete: deleteJob},
	"result": {http.MethodGet: readResult},
	"events": {http.MethodGet: followJob},
	"cancel": {http.MethodPost: cancelJob},
	"retry":  {http.MethodPost: retryJob},
	"links":  {http.MethodPost: signLinks},

	reportPart: {http.MethodPost: reportProgress},
}

// exposed are the fields of answers that scripts of other origins can read.
var exposed = []string{
	"Accept-Ranges", "Content-Range", "ETag", "Link", "Location", "Offload-Job-Id", "Offload-Job-State",
	"Preference-Applied", "Retry-After", "Server-Timing",
}

// Serve answers a request. The path is the one that the client has sent, before a handler
// has changed that of r: links begin with it.
func (s *Resource) Serve(w http.ResponseWriter, r *http.Request, path string) {
	if cors.NamesOrigin(r) {
		cors.Expose(w.Header(), exposed)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	c := &call{Resource: s, w: w, r: r}
	id, part, ok := c.locate(r.URL.Path)
	list := !ok && c.isList(r.URL.Path)
	if before, ok := strings.CutSuffix(path, r.URL.Path[len(c.base):]); ok {
		c.base = before
	}
	if list && s.options.List {
		c.method(methods{http.MethodGet: listJobs}, func() bool { return true })
		return
	}
	if !ok {
		c.reject(problem.UnknownJob)
		return
	}
	c.id = id
	// Reports come from upstreams, which have a token and are no owners.
	c.method(parts[part], func() bool { return part == reportPart || c.find(part) })
}

// locate finds the ID and the part in a path.
func (c *call) locate(path string) (id jobs.ID, part string, ok bool) {
	before, last := cut(path)
	if id, err := jobs.ParseID(last); err == nil {
		c.base = before
		return id, "", true
	}
	if _, known := parts[last]; !known || last == "" {
		return id, "", false
	}
	before, name := cut(strings.TrimSuffix(before, "/"))
	c.base = before
	id, err := jobs.ParseID(name)
	return id, last, err == nil
}

// cut splits a path behind its last slash.
func cut(path string) (before, last string) {
	i := strings.LastIndexByte(path, '/') + 1
	return path[:i], path[i:]
}

// isList reports whether a path is that of all jobs.
func (c *call) isList(path string) bool {
	c.base, _ = cut(path)
	return strings.HasSuffix(path, "/")
}

// method calls the function for the method of the request, if the request may use it.
func (c *call) method(m methods, may func() bool) {
	method := c.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	serve := m[method]
	switch {
	case serve != nil:
		if c.prepare() && may() {
			serve(c)
		}
	case method == http.MethodOptions:
		c.allow(m)
		c.w.WriteHeader(http.StatusNoContent)
	default:
		c.allow(m)
		c.reject(problem.BadMethod)
	}
}

// allow sets the field with the methods.
func (c *call) allow(m methods) {
	names := []string{http.MethodOptions}
	for name := range m {
		names = append(names, name)
		if name == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	c.w.Header().Set("Allow", strings.Join(names, ", "))
}
