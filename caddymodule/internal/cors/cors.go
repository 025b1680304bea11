// Package cors has the parts of the CORS protocol (of the Fetch standard) that a proxy
// needs where it answers in place of a service.
package cors

import (
	"net/http"
	"slices"
	"strings"
)

// IsPreflight reports whether a request is a preflight: a browser asks whether it may send
// another request. A preflight has no body, although its length is not known on HTTP/3.
func IsPreflight(r *http.Request) bool {
	empty := r.ContentLength == 0 || (r.ContentLength < 0 && r.ProtoMajor == 3)
	return r.Method == http.MethodOptions && empty &&
		NamesOrigin(r) && r.Header.Get("Access-Control-Request-Method") != ""
}

const exposed = "Access-Control-Expose-Headers"

// NamesOrigin reports whether a browser may have sent the request for a script of another
// origin.
func NamesOrigin(r *http.Request) bool { return r.Header.Get("Origin") != "" }

// Expose allows scripts of another origin to read those fields of an answer. This has an
// effect only with the site's Access-Control-Allow-Origin, which may be set later.
func Expose(answer http.Header, fields []string) {
	known := strings.Split(strings.Join(answer.Values(exposed), ","), ",")
	has := func(field string) bool {
		return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(strings.TrimSpace(k), field) })
	}
	if has("*") && answer.Get("Access-Control-Allow-Credentials") != "true" {
		return
	}
	missing := slices.DeleteFunc(slices.Clone(fields), has)
	if len(missing) > 0 {
		// In lower case this is a second field line with the same name, which deferred
		// operations of the site's "header" do not replace.
		answer[strings.ToLower(exposed)] = []string{strings.Join(missing, ", ")}
	}
}
