package caddymodule

import "net/http"

// resumableFields mark uploads that their clients go on with after a break: tus, and the
// drafts of the IETF from the first to the last.
var resumableFields = []string{"Tus-Resumable", "Upload-Complete", "Upload-Incomplete", "Upload-Offset", "Upload-Draft-Interop-Version"}

// isResumable reports whether a request brings a part of a resumable upload.
func isResumable(r *http.Request) bool {
	for _, field := range resumableFields {
		if r.Header[field] != nil {
			return true
		}
	}
	return false
}
