package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// eventType is the media type of a stream of events.
const eventType = "text/event-stream"

// WantsEvents reports whether a client asks for a stream of events by name.
func WantsEvents(r *http.Request) bool {
	for _, field := range r.Header["Accept"] {
		for member := range strings.SplitSeq(field, ",") {
			mediaType, params, err := mime.ParseMediaType(member)
			if err != nil || mediaType != eventType {
				continue
			}
			q, err := strconv.ParseFloat(params["q"], 64)
			if params["q"] == "" || (err == nil && q > 0) {
				return true
			}
		}
	}
	return false
}

// Events is an event stream to one client. Its methods flush before they return.
type Events struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

// StartEvents sends the head of a stream.
func StartEvents(w http.ResponseWriter) *Events {
	h := w.Header()
	h.Set("Content-Type", eventType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // NGINX in front would buffer the stream
	w.WriteHeader(http.StatusOK)
	return &Events{w: w, controller: http.NewResponseController(w)}
}

// Send sends an event whose data is JSON.
func (e *Events) Send(name, id string, data []byte) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", name)
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	b.WriteString("data: ")
	// A data field is one line. Line breaks in JSON are insignificant.
	if err := json.Compact(&b, data); err != nil {
		return fmt.Errorf("event '%s': %w", name, err)
	}
	b.WriteString("\n\n")
	return e.write(b.Bytes())
}

// KeepAlive sends a comment, so that proxies on the way do not close an idle stream.
func (e *Events) KeepAlive() error { return e.write([]byte(":\n\n")) }

func (e *Events) write(data []byte) error {
	if _, err := e.w.Write(data); err != nil {
		return err
	}
	if err := e.controller.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
