package adminroute

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

const maxBody = 64 << 10

// Call is one request to the admin endpoint.
type Call struct {
	W    http.ResponseWriter
	R    *http.Request
	Name string // what stands for {name} or {id} in the path
}

// Failed returns an error response.
func Failed(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// Answer writes JSON.
func (c *Call) Answer(status int, v any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return Failed(http.StatusInternalServerError, "writing the answer: %w", err)
	}
	c.W.Header().Set("Content-Type", "application/json")
	c.W.WriteHeader(status)
	_, _ = text.WriteTo(c.W) // the operator may have left
	return nil
}

// Body reads the request's body.
func (c *Call) Body() ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.W, c.R.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, Failed(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", tooLarge.Limit)
	} else if err != nil {
		return nil, Failed(http.StatusBadRequest, "reading the body: %w", err)
	}
	return body, nil
}

// Fields reads the body of the request into a struct. No body counts as an empty object.
func (c *Call) Fields(v any) error {
	body, err := c.Body()
	if err != nil || len(body) == 0 {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return Failed(http.StatusBadRequest, "bad body: %w", err)
	}
	return nil
}
