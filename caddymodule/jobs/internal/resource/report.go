package resource

import (
	"net/http"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/problem"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
)

// reportPart is the part of a job that takes the reports of its upstream.
const reportPart = "progress"

// reportProgress takes a report about the attempt that the token in the query belongs to. An attempt
// that has ended is answered as a job that does not exist.
func reportProgress(c *call) {
	p, err := progress.FromBody(c.r.Header.Get("Content-Type"), c.r.Body)
	if err != nil {
		c.problem(problem.Problem{Type: problem.BadRequest, Detail: "The body cannot be read: " + err.Error() + "."})
		return
	}
	if !c.options.Reports.Report(c.id, c.r.URL.Query().Get(tokenParam), p) {
		c.reject(problem.UnknownJob)
		return
	}
	c.w.WriteHeader(http.StatusNoContent)
}
