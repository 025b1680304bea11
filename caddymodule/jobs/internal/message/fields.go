// Package message converts requests and responses of HTTP to those of jobs and back. It
// leaves out the fields that must not be stored.
package message

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// perConnection are the fields of one connection. They are never stored.
var perConnection = []string{
	"Connection", "Expect", "Http2-Settings", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// PerConnection reports whether a field belongs to one connection, so that it is never
// stored.
func PerConnection(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	return slices.Contains(perConnection, name) || strings.HasPrefix(name, "Proxy-")
}

// ownFields are those that this project sets or reads itself.
var ownFields = []string{"Content-Length", "Prefer", JobID, Attempt}

// Fields of requests to upstreams.
const (
	JobID          = "Offload-Job-Id"
	Attempt        = "Offload-Attempt"
	IdempotencyKey = "Idempotency-Key"
	traceParent    = "Traceparent"
)

// secret are the fields of requests that are stored only where a route says so.
var secret = []string{"Authorization", "Cookie"}

// ValidName reports whether a text is the name of a field.
func ValidName(name string) bool { return httpguts.ValidHeaderFieldName(name) }

// RequestFields returns the fields of a request that are stored. keep has the names of
// fields with secrets that are stored too, in their canonical form.
func RequestFields(h http.Header, keep []string) []jobs.Field {
	named := connectionNames(h)
	return fields(h, func(name string) bool {
		switch {
		case PerConnection(name), slices.Contains(ownFields, name), slices.Contains(named, name):
			return false
		case slices.Contains(secret, name):
			return slices.Contains(keep, name)
		}
		return true
	})
}

// ResponseFields returns the fields of a response that are stored. Cookies are not among
// them: a result may be read long after, and by another client.
func ResponseFields(h http.Header) []jobs.Field {
	named := connectionNames(h)
	return fields(h, func(name string) bool {
		return !PerConnection(name) && name != "Set-Cookie" && name != "Content-Length" && !slices.Contains(named, name)
	})
}

// TrailerFields returns the trailers of a response. After its end net/http has them among the
// fields, with a prefix unless they were announced.
func TrailerFields(h http.Header) []jobs.Field {
	announced := http.Header{}
	for name, values := range h {
		if trailer, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			announced[textproto.CanonicalMIMEHeaderKey(trailer)] = values
		}
	}
	for _, line := range h["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if values := h[name]; len(values) > 0 {
				announced[name] = values
			}
		}
	}
	return fields(announced, func(name string) bool { return !PerConnection(name) })
}

// connectionNames returns the names of the fields that the field Connection lists.
func connectionNames(h http.Header) (names []string) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	return names
}

// fields returns the fields that are kept, by their names in order.
func fields(h http.Header, keep func(name string) bool) []jobs.Field {
	names, n := make([]string, 0, usualFields), 0
	for name, values := range h {
		if keep(name) && !strings.HasPrefix(name, http.TrailerPrefix) {
			names = append(names, name)
			n += len(values)
		}
	}
	if n == 0 {
		return nil
	}
	slices.Sort(names)
	all := make([]jobs.Field, 0, n)
	for _, name := range names {
		for _, value := range h[name] {
			all = append(all, jobs.Field{Name: name, Value: value})
		}
	}
	return all
}

// Header returns fields as a header.
func Header(fields []jobs.Field) http.Header {
	h := make(http.Header, len(fields)+addedFields)
	values := make([]string, len(fields)) // one allocation for all
	for i, f := range fields {
		if earlier, ok := h[f.Name]; ok {
			h[f.Name] = append(earlier, f.Value)
			continue
		}
		values[i] = f.Value
		h[f.Name] = values[i : i+1 : i+1]
	}
	return h
}

const (
	// usualFields is how many fields the messages of most clients and upstreams have at most.
	usualFields = 24
	// addedFields is how many fields a request of a job gets at most.
	addedFields = 4
)
