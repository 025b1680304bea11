// Package answer makes HTTP of what tasks report: responses of results, problem
// details of failures, and streams of events. It knows no Caddy.
//
// What a task returns is checked before it is passed on: a worker that is made to
// echo its input must not be a way to write into the proxy's responses what only
// the proxy may write there.
package answer

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// ErrShape says that a result does not have the shape that was asked for.
var ErrShape = errors.New("the result does not fit")

// Response is a response whose whole body is known.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON answers with the result as it is, but for dates and such, which become
// strings.
func JSON(r celery.Result) (*Response, error) {
	value, err := r.Plain()
	if err != nil {
		return nil, err
	}
	return ofType("application/json", value), nil
}

// Raw answers with the string or the bytes that the task returned. contentType is
// for both, if it is set.
func Raw(r celery.Result, contentType string) (*Response, error) {
	body, ok := r.Bytes()
	if !ok {
		return nil, fmt.Errorf("%w: want a string or bytes", ErrShape)
	}
	if contentType == "" {
		contentType = typeOf(r)
	}
	response := ofType(contentType, body)
	response.Header.Set("X-Content-Type-Options", "nosniff")
	return response, nil
}

// typeOf is the type of a string or of bytes of which nothing else is known.
func typeOf(r celery.Result) string {
	if len(r.Value) > 0 && r.Value[0] == '"' {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

func ofType(contentType string, body []byte) *Response {
	return &Response{http.StatusOK, http.Header{"Content-Type": {contentType}}, body}
}

// Write sends the response. Fields that are set already stay, unless it has them
// too.
func (r *Response) Write(w http.ResponseWriter) error {
	h := w.Header()
	maps.Copy(h, r.Header)
	if bodyless(r.Status) {
		w.WriteHeader(r.Status)
		return nil
	}
	h.Set("Content-Length", strconv.Itoa(len(r.Body)))
	w.WriteHeader(r.Status)
	_, err := w.Write(r.Body)
	return err
}

// bodyless reports whether a response of that status has no body.
func bodyless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}
