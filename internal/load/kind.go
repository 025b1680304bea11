package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
)

// kindOf describes the error of a connection.
func kindOf(err error) string {
	var netErr *net.OpError
	switch {
	case errors.Is(err, errCutShort):
		return "body cut short"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection reset"
	case errors.As(err, &netErr):
		return "connection error in " + netErr.Op
	}
	return "connection error"
}

// details returns the reason of a rejection from a Proxy-Status field.
var details = regexp.MustCompile(`details="?([a-z_]+)`)

// kindOfStatus describes a status, with the reason if the answer has one.
func kindOfStatus(res *http.Response, body head) string {
	kind := fmt.Sprintf("status %d", res.StatusCode)
	if reason := reasonOf(res, body); reason != "" {
		kind += " " + reason
	}
	return kind
}

// reasonOf returns the reason from an answer of the examples' services, a
// problem of RFC 9457, or an answer of a proxy.
func reasonOf(res *http.Response, body head) string {
	if name := res.Header.Get("X-Error"); name != "" {
		return name
	}
	var problem struct {
		Reason string `json:"reason"`
	}
	if res.Header.Get("Content-Type") == "application/problem+json" && json.Unmarshal(body, &problem) == nil {
		return problem.Reason
	}
	if match := details.FindStringSubmatch(strings.Join(res.Header["Proxy-Status"], ",")); match != nil {
		return match[1]
	}
	return ""
}

// head keeps the beginning of the data written to it.
type head []byte

const headSize = 4 << 10

func (h *head) Write(p []byte) (int, error) {
	*h = append(*h, p[:min(len(p), headSize-len(*h))]...)
	return len(p), nil
}
