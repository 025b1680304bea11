package answer

import (
	"encoding/json"
	"net/http"
)

// Problem is why there is no result, as RFC 9457 has it. Its type is
// "about:blank", so that its title is that of its status.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what was wrong in words.
	Detail string `json:"detail,omitempty"`
	// Reason is one word for it.
	Reason string `json:"reason"`
	// TaskID is that of the task, if one was sent.
	TaskID string `json:"task_id,omitempty"`
	// Exception is the type of what the task raised.
	Exception string `json:"exception,omitempty"`
	// Traceback of it.
	Traceback string `json:"traceback,omitempty"`
}

// Encode writes it as JSON.
func (p Problem) Encode() []byte {
	p.Title = http.StatusText(p.Status)
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // it holds strings and a number
	}
	return text
}

// Response answers with the problem.
func (p Problem) Response() *Response {
	return &Response{
		Status: p.Status,
		Header: http.Header{"Content-Type": {"application/problem+json"}, "Cache-Control": {"no-store"}},
		Body:   p.Encode(),
	}
}
