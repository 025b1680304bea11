package answers

import (
	"encoding/json"
)

// problemDetails describe an answer by RFC 9457. The type about:blank means that the title
// is the text of the status.
type problemDetails struct {
	Type         string `json:"type"`
	Title        string `json:"title"`
	Status       int    `json:"status"`
	Detail       string `json:"detail"`
	Reason       string `json:"reason"`
	ID           string `json:"id"`
	RetryAfter   int    `json:"retry_after,omitempty"`    // seconds
	RetryAfterMs int64  `json:"retry_after_ms,omitempty"` // milliseconds
}

func (a Answer) problem() []byte {
	text, err := json.Marshal(problemDetails{
		Type: "about:blank", Title: a.title(), Status: a.Status, Detail: a.detail,
		Reason: a.Reason.String(), ID: a.ID, RetryAfter: a.retrySeconds(), RetryAfterMs: a.retryMs(),
	})
	if err != nil {
		panic(err) // cannot happen: strings and numbers
	}
	return append(text, '\n')
}
