package deadline

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/http/httpguts"
)

// grpcField has another form than other fields.
const grpcField = "Grpc-Timeout"

// reserved are fields with another meaning for the proxy.
var reserved = []string{
	"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// CheckHeader returns an error for an invalid value of the option deadline_header. An empty
// value is valid: the option is not set.
func CheckHeader(name string) error {
	switch {
	case name == "":
		return nil
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("bad deadline_header value '%s': want the name of a field, such as X-Deadline-Ms", name)
	case slices.Contains(reserved, http.CanonicalHeaderKey(name)):
		return fmt.Errorf("bad deadline_header value '%s': the field has another meaning; want a name such as X-Deadline-Ms", name)
	}
	return nil
}

// Set writes the milliseconds until end, at least one, into the rule's field of the header.
// If end is zero, there is no limit, and the field is removed. The field grpc-timeout has
// its own format.
func (r *Rule) Set(h http.Header, end time.Time) {
	name := http.CanonicalHeaderKey(r.Header)
	if end.IsZero() {
		delete(h, name)
		return
	}
	value := strconv.FormatInt(max(time.Until(end).Milliseconds(), 1), 10)
	if name == grpcField {
		value = grpcForm(time.Until(end))
	}
	h[name] = []string{value}
}

// grpcForm formats a time for the field grpc-timeout, which has at most eight digits.
func grpcForm(d time.Duration) string {
	if ms := max(d.Milliseconds(), 1); ms < 1e8 {
		return strconv.FormatInt(ms, 10) + "m"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "S"
}
