package celery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// workerEvent is a heartbeat of a worker, or the report of its start or end.
type workerEvent struct {
	Type      string  `json:"type"`
	Hostname  string  `json:"hostname"`
	Freq      float64 `json:"freq"`
	Active    int     `json:"active"`
	Processed int     `json:"processed"`
	Version   string  `json:"sw_ver"`
}

const (
	workerOnline    = "worker-online"
	workerHeartbeat = "worker-heartbeat"
	workerOffline   = "worker-offline"
)

// decodeEvents decodes one event, or an array of events.
func decodeEvents(body []byte) ([]workerEvent, error) {
	if body = bytes.TrimSpace(body); len(body) > 0 && body[0] == '[' {
		var events []workerEvent
		if err := json.Unmarshal(body, &events); err != nil {
			return nil, fmt.Errorf("reading events: %w", err)
		}
		return events, nil
	}
	var event workerEvent
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, fmt.Errorf("reading an event: %w", err)
	}
	return []workerEvent{event}, nil
}

// Times of heartbeats.
const (
	defaultFreq = 2 * time.Second
	maxFreq     = time.Hour
	missedBeats = 3 // after which a worker counts as gone
)

// expiry returns how long the worker counts as alive after the event.
func (e workerEvent) expiry() time.Duration {
	freq := time.Duration(min(e.Freq, maxFreq.Seconds()) * float64(time.Second))
	if freq <= 0 {
		freq = defaultFreq
	}
	return missedBeats * freq
}
