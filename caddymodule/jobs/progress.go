package jobs

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// reports has the attempts of all routes, for the reports that upstreams send to the directive
// offload_jobs.
var reports progress.Board

// run runs the handlers of the route. Informational responses with a report go to sink, and so
// do requests to the URL of the attempt.
func (r *Route) run(w http.ResponseWriter, req *http.Request, id jobs.ID, sink *progress.Sink) error {
	req.Header.Del(progress.URLField) // of the client
	if base := r.progressBase(); base != "" {
		token, remove := reports.Add(id, func(p jobs.Progress) { sink.Report(p) })
		defer remove()
		req.Header.Set(progress.URLField, progress.URL(base, id, token))
	}
	return r.handler.ServeHTTP(progress.Catch(w, sink), req)
}

// progressBase returns the URL of all jobs for upstreams, with a slash at its end, or an empty
// text. It never comes from a request: the name of the host is the client's.
func (r *Route) progressBase() string {
	if r.ProgressURL == "" {
		return ""
	}
	if u, err := url.Parse(r.ProgressURL); err == nil && u.Path == "" {
		return r.ProgressURL + r.location()
	}
	return strings.TrimSuffix(r.ProgressURL, "/") + "/"
}

func checkProgressURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("bad progress_url value '%s': want an address such as http://127.0.0.1:8080, at which offload_jobs is served", text)
	}
	return nil
}
