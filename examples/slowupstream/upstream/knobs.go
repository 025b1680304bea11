package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Limits of the parameters, so that a mistyped one does no harm.
const (
	maxSize   = 1 << 30
	maxChunks = 100_000
)

// Faults, and the place in the response where they happen.
const (
	hang   = "hang" // stop until the upstream is closed
	cut    = "cut"  // end the connection
	atHead = "head" // before the headers
	atBody = "body" // after half of the body
)

// knobs are the parameters in a request's query.
type knobs struct {
	delay    time.Duration // service time before the headers
	pause    time.Duration // between two chunks
	chunks   int
	size     int // of the whole body, in bytes
	status   int
	fault    string // hang, cut or none
	place    string // atHead, atBody or none
	trailers bool
}

// parseKnobs parses a query. Missing parameters mean a plain, quick answer.
func parseKnobs(query url.Values) (knobs, error) {
	k := knobs{chunks: 1, size: 1024, status: http.StatusOK}
	for name, values := range query {
		if err := k.set(name, values[len(values)-1]); err != nil {
			return knobs{}, fmt.Errorf("knob %s=%q: %w", name, values[len(values)-1], err)
		}
	}
	return k, nil
}

var errUnknown = errors.New("unknown name; known are delay, pause, chunks, size, status, hang, cut and trailers")

// set sets one parameter.
func (k *knobs) set(name, value string) (err error) {
	switch name {
	case "delay":
		k.delay, err = duration(value)
	case "pause":
		k.pause, err = duration(value)
	case "chunks":
		k.chunks, err = number(value, 1, maxChunks)
	case "size":
		k.size, err = number(value, 0, maxSize)
	case "status":
		k.status, err = number(value, 200, 599)
	case hang, cut:
		err = k.setFault(name, value)
	case "trailers":
		k.trailers, err = strconv.ParseBool(value)
	default:
		err = errUnknown
	}
	return err
}

func duration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return 0, errors.New("the value must be a duration such as 200ms")
	}
	return d, nil
}

func number(value string, least, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("the value must be a number from %d to %d", least, most)
	}
	return n, nil
}

func (k *knobs) setFault(fault, place string) error {
	if place != atHead && place != atBody {
		return fmt.Errorf("want %s or %s", atHead, atBody)
	}
	if k.fault != "" {
		return errors.New("a response can have one fault only: 'hang' or 'cut'")
	}
	k.fault, k.place = fault, place
	return nil
}
