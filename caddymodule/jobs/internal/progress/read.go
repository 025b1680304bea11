// Package progress takes the reports of an upstream about how far a job is. It sends them in
// informational responses (1xx) with the field Offload-Progress, or, if its framework cannot
// send these, in requests to a URL that each attempt has.
package progress

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Fields of requests and responses.
const (
	// Field has the progress in informational responses of the upstream.
	Field = "Offload-Progress"
	// URLField has the URL for reports, in requests to the upstream.
	URLField = "Offload-Progress-Url"
)

const (
	// maxMessage is the longest text of a report in bytes. The rest is cut off.
	maxMessage = 256
	// maxBody is the longest body of a report in bytes.
	maxBody = 4 << 10
	// unknown is the percentage of a report that has only a text.
	unknown = -1
)

// FromField reads the field Offload-Progress, a structured field: a percentage, which may have a
// text, as in `42; msg="page 3 of 7"`. ok is false without a valid one.
func FromField(h http.Header) (p jobs.Progress, ok bool) {
	if len(h[Field]) == 0 {
		return p, false // the usual case
	}
	item, err := httpsfv.UnmarshalItem(h[Field])
	if err != nil {
		return p, false
	}
	var percent float64
	switch v := item.Value.(type) {
	case int64:
		percent = float64(v)
	case float64:
		percent = v
	default:
		return p, false
	}
	var message string
	if value, given := item.Params.Get("msg"); given {
		switch text := value.(type) {
		case string:
			message = text
		case httpsfv.DisplayString: // beyond ASCII
			message = string(text)
		}
	}
	return report(percent, message), true
}

// ErrBody: the body of a report cannot be read. Its text is for the upstream.
var ErrBody = errors.New(`want a form with "percent" and "message", or JSON such as {"percent": 42, "message": "page 3 of 7"}, of at most 4 KiB`)

// FromBody reads the body of a report: a form or JSON, with a percentage, a text, or both. It
// reads a limited part of the body.
func FromBody(contentType string, body io.Reader) (jobs.Progress, error) {
	text, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	if err != nil || len(text) > maxBody {
		return jobs.Progress{}, ErrBody
	}
	mediaType, _, _ := mime.ParseMediaType(contentType)
	if mediaType == "application/x-www-form-urlencoded" {
		return fromForm(string(text))
	}
	var r struct {
		Percent *float64
		Message string
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return jobs.Progress{}, ErrBody
	}
	return partial(r.Percent, r.Message)
}

func fromForm(text string) (jobs.Progress, error) {
	form, err := url.ParseQuery(text)
	if err != nil {
		return jobs.Progress{}, ErrBody
	}
	if !form.Has("percent") {
		return partial(nil, form.Get("message"))
	}
	percent, err := strconv.ParseFloat(form.Get("percent"), 64)
	if err != nil || math.IsNaN(percent) {
		return jobs.Progress{}, ErrBody
	}
	return partial(&percent, form.Get("message"))
}

// partial returns a report whose percentage or text may be missing.
func partial(percent *float64, message string) (jobs.Progress, error) {
	if percent != nil {
		return report(*percent, message), nil
	}
	if message == "" {
		return jobs.Progress{}, ErrBody
	}
	p := report(0, message)
	p.Percent = unknown
	return p, nil
}

func report(percent float64, message string) jobs.Progress {
	return jobs.Progress{
		Percent: min(max(percent, 0), 100),
		Message: strings.ToValidUTF8(message[:min(len(message), maxMessage)], ""),
		At:      time.Now(),
	}
}
