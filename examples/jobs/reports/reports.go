// Package reports is the upstream of this example: a server that makes reports, page by page,
// and reports its progress in informational responses.
package reports

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxPages is the most pages of a report.
const maxPages = 1000

// Server makes reports. Each request holds its goroutine until the last page.
type Server struct {
	// Pace returns when a page of a request is made, or its context is done.
	Pace func(r *http.Request)
}

// Every is the pace of a page per duration.
func Every(d time.Duration) func(r *http.Request) {
	return func(r *http.Request) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
	}
}

// ServeHTTP makes a report with the number of pages that the form field "pages" says.
func (s Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pages, err := strconv.Atoi(r.FormValue("pages"))
	if err != nil || pages < 1 || pages > maxPages {
		http.Error(w, "want the field 'pages' with a number from 1 to 1000", http.StatusBadRequest)
		return
	}
	var report strings.Builder
	for page := range pages {
		w.Header().Set("Offload-Progress", fmt.Sprintf(`%d; msg="page %d of %d"`, 100*page/pages, page+1, pages))
		w.WriteHeader(http.StatusProcessing)
		s.Pace(r)
		if r.Context().Err() != nil { // the job was cancelled
			return
		}
		fmt.Fprintf(&report, "page %d: all is well\n", page+1)
	}
	w.Header().Del("Offload-Progress")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(report.String())) // the client may have left
}
