package webhook

import (
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// message is the body that an endpoint gets.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

// data of a message is about the job.
type data struct {
	ID       jobs.ID    `json:"id"`
	State    jobs.State `json:"state"`
	Status   int        `json:"status,omitempty"` // of the response
	Attempts int        `json:"attempts"`
	Location string     `json:"location"`
	Result   *result    `json:"result,omitempty"`
}

// result is a small result.
type result struct {
	ContentType string `json:"content_type,omitempty"`
	// Encoding is "base64" if the bytes of the result are not UTF-8.
	Encoding string `json:"encoding,omitempty"`
	Body     string `json:"body"`
}

// encode returns the body of a message. Each try sends the same bytes.
func encode(from jobs.Message, location string) []byte {
	r := from.Record
	m := message{
		Type:      "job." + r.State.String(),
		Timestamp: r.Ended.UTC(),
		Data:      data{ID: r.ID, State: r.State, Attempts: r.Attempt, Location: location},
	}
	if r.Response != nil {
		m.Data.Status = r.Response.Status
		if r.Hook.WithResult && r.Response.Complete && from.Result != nil {
			m.Data.Result = resultOf(r.Response, from.Result)
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // all of its fields can be encoded
	}
	return text
}

func resultOf(response *jobs.Response, bytes []byte) *result {
	r := &result{Body: string(bytes)}
	for _, field := range response.Header {
		if field.Name == "Content-Type" {
			r.ContentType = field.Value
		}
	}
	if !utf8.Valid(bytes) {
		r.Encoding, r.Body = "base64", base64.StdEncoding.EncodeToString(bytes)
	}
	return r
}
