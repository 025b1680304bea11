package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// shape is the result of a task that sets the whole response.
type shape struct {
	Status  *int            `json:"status"`
	Headers json.RawMessage `json:"headers"`
	Body    json.RawMessage `json:"body"`
}

// Limits of the header fields of one response.
const (
	maxFields     = 200
	maxFieldBytes = 64 << 10
)

// HTTP returns the response that the result describes: an object with "status", "headers" and
// "body", all of them optional. A body that is neither a string nor bytes is sent as JSON.
func HTTP(r celery.Result) (*Response, error) {
	value, err := r.JSON()
	if err != nil {
		return nil, err
	}
	var s shape
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if !bytes.HasPrefix(value, []byte("{")) || d.Decode(&s) != nil {
		return nil, fmt.Errorf("%w: want an object with 'status', 'headers' and 'body'", ErrShape)
	}
	response := &Response{Status: http.StatusOK}
	if s.Status != nil {
		response.Status = *s.Status
	}
	if response.Status < 200 || response.Status > 599 {
		return nil, fmt.Errorf("%w: status %d is not between 200 and 599", ErrShape, response.Status)
	}
	if response.Header, err = fields(s.Headers); err != nil {
		return nil, err
	}
	return response, response.setBody(s.Body)
}

// setBody sets the body, and the media type unless the task has set it.
func (r *Response) setBody(value json.RawMessage) error {
	if len(value) == 0 || string(value) == "null" {
		return nil
	}
	if bodyless(r.Status) {
		return fmt.Errorf("%w: status %d has no body", ErrShape, r.Status)
	}
	inner := celery.Result{Value: value}
	contentType := typeOf(inner)
	body, ok := inner.Bytes()
	if !ok {
		plain, err := inner.Plain()
		if err != nil {
			return err
		}
		contentType, body = "application/json", plain
	}
	r.Body = body
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("X-Content-Type-Options", "nosniff")
	}
	return nil
}

// forbidden are fields that a task must not set. They describe the connection or the proxy.
var forbidden = map[string]bool{
	"Connection":        true,
	"Keep-Alive":        true,
	"Te":                true,
	"Trailer":           true,
	"Transfer-Encoding": true,
	"Upgrade":           true,
	"Content-Length":    true, // counted here
	"Alt-Svc":           true,
	"Date":              true,
	"Server":            true,
	"Via":               true,
	// Servers in front would send a file in place of the response.
	"X-Accel-Redirect": true,
	"X-Sendfile":       true,
}

// forbiddenPrefix is the prefix of more forbidden fields.
const forbiddenPrefix = "Proxy-"

// fields decodes header fields, whose values are strings, numbers, or arrays of these.
func fields(value json.RawMessage) (http.Header, error) {
	header := make(http.Header)
	if len(value) == 0 || string(value) == "null" {
		return header, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(value, &all); err != nil {
		return nil, fmt.Errorf("%w: want an object as 'headers'", ErrShape)
	}
	count, size := 0, 0
	for name, value := range all {
		texts, err := fieldValues(value)
		if err != nil {
			return nil, fmt.Errorf("%w: header %q: %w", ErrShape, name, err)
		}
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if err := checkField(canonical, texts); err != nil {
			return nil, err
		}
		for _, text := range texts {
			count, size = count+1, size+len(name)+len(text)
		}
		header[canonical] = append(header[canonical], texts...)
	}
	if count > maxFields || size > maxFieldBytes {
		return nil, fmt.Errorf("%w: more than %d headers or %d bytes of them", ErrShape, maxFields, maxFieldBytes)
	}
	return header, nil
}

// checkField rejects forbidden fields and those that would corrupt the message.
func checkField(name string, values []string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("%w: %q is not a valid header name", ErrShape, name)
	}
	if forbidden[name] || strings.HasPrefix(name, forbiddenPrefix) {
		return fmt.Errorf("%w: a task must not set header %q", ErrShape, name)
	}
	for _, value := range values {
		if !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("%w: bad value of header %q", ErrShape, name)
		}
	}
	return nil
}

// fieldValues decodes the value or the values of one field.
func fieldValues(value json.RawMessage) ([]string, error) {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil || list == nil {
		list = []json.RawMessage{value}
	}
	texts := make([]string, 0, len(list))
	for _, element := range list {
		var text string
		var number json.Number
		switch {
		case bytes.HasPrefix(element, []byte(`"`)) && json.Unmarshal(element, &text) == nil:
		case json.Unmarshal(element, &number) == nil && number != "":
			text = number.String()
		default:
			return nil, fmt.Errorf("the value must be a string, a number, or an array of these")
		}
		texts = append(texts, text)
	}
	return texts, nil
}
