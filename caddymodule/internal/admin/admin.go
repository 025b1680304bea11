package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// AdminAPI is the part of Caddy's admin endpoint that shows and controls pools. It
// reads what the process has, never what a configuration wanted: a configuration
// that has failed to load leaves its admin modules behind.
type AdminAPI struct{}

// CaddyModule describes the module.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.offload", New: func() caddy.Module { return new(AdminAPI) }}
}

// Routes returns one route for all endpoints: names of pools can hold slashes, which only
// the escaped path distinguishes from separators.
func (AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminPrefix, Handler: caddy.AdminHandlerFunc(serveAdmin)}}
}

const (
	adminPrefix  = "/offload/"
	maxAdminBody = 64 << 10
)

// adminCall is one request to the admin endpoint.
type adminCall struct {
	w    http.ResponseWriter
	r    *http.Request
	name string // what stands for {name} or {id} in the path
}

// endpoint is one path below the prefix. {name} and {id} stand for any one segment.
type endpoint struct {
	path    string
	methods map[string]func(*adminCall) error
}

// endpoints are all that there is, as docs/openapi.yaml describes them.
var endpoints = []endpoint{
	{"pools", get(listPools)},
	{"pools/{name}", map[string]func(*adminCall) error{http.MethodGet: showPool, http.MethodPatch: overridePool}},
	{"pools/{name}/override", map[string]func(*adminCall) error{http.MethodDelete: resetPool}},
	{"pools/{name}/breaker", post(forceBreaker)},
	{"pools/{name}/pause", post(pausePool)},
	{"pools/{name}/resume", post(resumePool)},
	{"pools/{name}/drain", post(drainPool)},
	{"pools/{name}/waiting", get(listWaiting)},
	{"pools/{name}/running", get(listRunning)},
	{"waiting", get(listAllWaiting)},
	{"running", get(listAllRunning)},
	{"requests/{id}/cancel", post(cancelRequest)},
	{"explain", get(listExplanations)},
	{"explain/{id}", get(explainRequest)},
	{"spool", get(showSpool)},
}

func get(f func(*adminCall) error) map[string]func(*adminCall) error {
	return map[string]func(*adminCall) error{http.MethodGet: f}
}

func post(f func(*adminCall) error) map[string]func(*adminCall) error {
	return map[string]func(*adminCall) error{http.MethodPost: f}
}

func serveAdmin(w http.ResponseWriter, r *http.Request) error {
	call := &adminCall{w: w, r: r}
	path := strings.TrimPrefix(r.URL.EscapedPath(), adminPrefix)
	for _, e := range endpoints {
		name, ok := e.match(path)
		if !ok {
			continue
		}
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if f := e.methods[method]; f != nil {
			call.name = name
			return f(call)
		}
		w.Header().Set("Allow", e.allow())
		return failed(http.StatusMethodNotAllowed, "method %s is not allowed here: want %s", r.Method, e.allow())
	}
	return failed(http.StatusNotFound, "nothing at %s", r.URL.Path)
}

// match compares an escaped path and returns the segment that has a name.
func (e endpoint) match(path string) (name string, ok bool) {
	want, got := strings.Split(e.path, "/"), strings.Split(path, "/")
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
	return name, true
}

func (e endpoint) allow() string {
	var methods []string
	for method := range e.methods {
		methods = append(methods, method)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// failed returns an error response.
func failed(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// answer writes JSON.
func (c *adminCall) answer(status int, v any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return failed(http.StatusInternalServerError, "writing the answer: %w", err)
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = text.WriteTo(c.w) // the operator may have left
	return nil
}

// body reads the request's body.
func (c *adminCall) body() ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxAdminBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, failed(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", tooLarge.Limit)
	} else if err != nil {
		return nil, failed(http.StatusBadRequest, "reading the body: %w", err)
	}
	return body, nil
}

// fields reads the body into a struct, none being as good as an empty object.
func (c *adminCall) fields(v any) error {
	body, err := c.body()
	if err != nil || len(body) == 0 {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return failed(http.StatusBadRequest, "bad body: %w", err)
	}
	return nil
}

var _ caddy.AdminRouter = AdminAPI{}
