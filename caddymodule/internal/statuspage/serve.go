package statuspage

import "net/http"

// policy is the Content-Security-Policy: the page may load only its own files, from its own
// address, and no other page may show it in a frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// ServeHTTP answers a request by its method and its query. It returns an error only if the
// page itself fails.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would hide the origin of actions
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPost:
		return p.act(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD, POST")
		return p.reject(w, http.StatusMethodNotAllowed, "want GET, or POST for actions")
	case query.Has("css"):
		return styles.serve(w, query.Get("css"))
	case query.Has("js"):
		return script.serve(w, query.Get("js"))
	case query.Has("events"):
		return p.stream(w, r)
	}
	return p.show(w, r, viewOf(query))
}
