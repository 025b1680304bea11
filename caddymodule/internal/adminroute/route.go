// Package adminroute dispatches requests to parts of Caddy's admin endpoint: those of the
// core, and those that other plugins add.
package adminroute

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Prefix is the path of all parts.
const Prefix = "/offload/"

// Methods has a function for each method of a path. C is what a function gets of a request.
type Methods[C any] map[string]func(C) error

// Endpoints has the methods of each path below the prefix. In a path {name} and {id} stand
// for any one segment; a path without such a segment goes before one with it.
type Endpoints[C any] map[string]Methods[C]

// Get returns the methods of a path that can only be read.
func Get[C any](f func(C) error) Methods[C] { return Methods[C]{http.MethodGet: f} }

// Post returns the methods of a path that does something.
func Post[C any](f func(C) error) Methods[C] { return Methods[C]{http.MethodPost: f} }

// Serve calls the function for a request. It matches the escaped path: names can hold
// slashes, which only that distinguishes from separators.
func (e Endpoints[C]) Serve(w http.ResponseWriter, r *http.Request, with func(Call) C) error {
	methods, name := e.find(strings.TrimPrefix(r.URL.EscapedPath(), Prefix))
	if methods == nil {
		return Failed(http.StatusNotFound, "nothing at %s", r.URL.Path)
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if f := methods[method]; f != nil {
		return f(with(Call{w, r, name}))
	}
	allow := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
	w.Header().Set("Allow", allow)
	return Failed(http.StatusMethodNotAllowed, "method %s is not allowed here: want %s", r.Method, allow)
}

// find returns the methods of an escaped path, nil without any. name is the unescaped
// segment at the place of the placeholder, such as {name}, or empty if there is none.
func (e Endpoints[C]) find(path string) (methods Methods[C], name string) {
	if methods = e[path]; methods != nil && !strings.Contains(path, "{") {
		return methods, ""
	}
	for pattern, methods := range e {
		if name, ok := match(pattern, path); ok {
			return methods, name
		}
	}
	return nil, ""
}

// match reports whether an escaped path is one of a pattern with a placeholder.
func match(pattern, path string) (name string, ok bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return "", false
	}
	for i, segment := range want {
		if !strings.HasPrefix(segment, "{") {
			if segment != got[i] {
				return "", false
			}
			continue
		}
		unescaped, err := url.PathUnescape(got[i])
		if err != nil || unescaped == "" {
			return "", false
		}
		name = unescaped
	}
	return name, name != ""
}
