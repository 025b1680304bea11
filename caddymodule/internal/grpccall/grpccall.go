// Package grpccall reads and writes the fields of a gRPC call. A call has its status in the
// header of a response without a body, else in the trailers.
package grpccall

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// Code is a status code of gRPC, as in google.golang.org/grpc/codes.
type Code int

// The codes that count as outcomes, or that offload answers with.
const (
	Canceled          Code = 1
	Unknown           Code = 2
	DeadlineExceeded  Code = 4
	ResourceExhausted Code = 8
	Aborted           Code = 10
	Unimplemented     Code = 12
	Internal          Code = 13
	Unavailable       Code = 14
	DataLoss          Code = 15
)

const statusField = "Grpc-Status"

// HasStatus reports whether a header or its trailers have the status of a call.
func HasStatus(h http.Header) bool { return status(h) != "" }

// Status returns the status of a call. ok is false without a valid one.
func Status(h http.Header) (code Code, ok bool) {
	n, err := strconv.Atoi(status(h))
	return Code(n), err == nil
}

func status(h http.Header) string {
	if text := h.Get(statusField); text != "" {
		return text
	}
	return h.Get(http.TrailerPrefix + statusField)
}

// SetStatus sets the status of a call in the header of a response that has only trailers.
func SetStatus(h http.Header, code Code, text string) {
	h.Set("Content-Type", "application/grpc")
	h.Set(statusField, strconv.Itoa(int(code)))
	h.Set("Grpc-Message", text)
}

// Send answers a call with a response that consists of trailers only.
func Send(w http.ResponseWriter, code Code, text string) {
	SetStatus(w.Header(), code, text)
	w.WriteHeader(http.StatusOK)
}

// SetPushback sets after how many milliseconds the client's library may send the call
// again. A negative number forbids that.
func SetPushback(h http.Header, ms int64) {
	h.Set("Grpc-Retry-Pushback-Ms", strconv.FormatInt(ms, 10))
}

// units are those of the field grpc-timeout.
var units = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second,
	'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// maxDigits is the limit of the protocol.
const maxDigits = 8

// Timeout returns the time that the client of a call has set in the field grpc-timeout of
// its request. ok is false without one. A time of centuries counts as none.
func Timeout(h http.Header) (limit time.Duration, ok bool) {
	return ParseTimeout(h.Get("Grpc-Timeout"))
}

// ParseTimeout reads the value of the field grpc-timeout: up to eight digits and a unit.
func ParseTimeout(text string) (limit time.Duration, ok bool) {
	if len(text) < 2 || len(text) > maxDigits+1 {
		return 0, false
	}
	last := len(text) - 1
	unit, ok := units[text[last]]
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text[:last], 10, 32)
	if err != nil || n > uint64(math.MaxInt64/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}
