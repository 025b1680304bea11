package render

import (
	"encoding/json"
	"net/http"
)

// Problem describes why there is no result, by RFC 9457. Its type is "about:blank", so its
// title is the text of the status.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is a sentence for people.
	Detail string `json:"detail,omitempty"`
	// Reason is an identifier for programs.
	Reason string `json:"reason"`
	// TaskID is the ID of the task, if one was sent.
	TaskID string `json:"task_id,omitempty"`
	// Exception is the type of the exception that the task raised.
	Exception string `json:"exception,omitempty"`
	// Traceback is the traceback of the exception.
	Traceback string `json:"traceback,omitempty"`
}

// Encode returns the problem as JSON.
func (p Problem) Encode() []byte {
	p.Title = http.StatusText(p.Status)
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // cannot happen: strings and a number
	}
	return text
}

// Response returns the response with the problem.
func (p Problem) Response() *Response {
	return &Response{
		Status: p.Status,
		Header: http.Header{"Content-Type": {"application/problem+json"}, "Cache-Control": {"no-store"}},
		Body:   p.Encode(),
	}
}
