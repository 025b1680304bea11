// Package render turns reports of tasks into HTTP: results into responses, failures into
// problem details, and states into event streams. It does not depend on Caddy.
//
// Results are validated before they are sent: a task may echo the input of a client, and
// must not set header fields that only the proxy may set.
package render

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// ErrShape means that a result does not have the configured form.
var ErrShape = errors.New("the result does not fit")

// Response is a response with its whole body.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON returns a response with the result as JSON. Dates and the like become strings.
func JSON(r celery.Result) (*Response, error) {
	value, err := r.Plain()
	if err != nil {
		return nil, err
	}
	return ofType("application/json", value), nil
}

// Raw returns a response with the string or the bytes that the task returned. contentType
// overrides the media type unless it is empty.
func Raw(r celery.Result, contentType string) (*Response, error) {
	body, ok := r.Bytes()
	if !ok {
		return nil, fmt.Errorf("%w: want a result that is a string or bytes", ErrShape)
	}
	if contentType == "" {
		contentType = typeOf(r)
	}
	response := ofType(contentType, body)
	response.Header.Set("X-Content-Type-Options", "nosniff")
	return response, nil
}

// typeOf returns the default media type of a string or of bytes.
func typeOf(r celery.Result) string {
	if len(r.Value) > 0 && r.Value[0] == '"' {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

func ofType(contentType string, body []byte) *Response {
	return &Response{http.StatusOK, http.Header{"Content-Type": {contentType}}, body}
}

// Write sends the response. Its header fields replace those of w with the same names.
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

// bodyless reports whether responses with the status have no body.
func bodyless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}
