package caddymodule_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// document describes the admin endpoint.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("../docs/openapi.yaml")
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

// operator uses the admin endpoint of a running Caddy. Each answer must have the
// documented form.
type operator struct {
	t    *testing.T
	addr string
}

// object is an answer.
type object = map[string]any

// serveOperated runs Caddy with an admin endpoint.
func serveOperated(t *testing.T, upstream http.Handler, body string) (*site.Site, *operator) {
	t.Helper()
	return serveOperatedWith(t, upstream, "", body)
}

// longGrace is for sites whose requests go on during a reload: connections of HTTP/3 are cut
// when the grace period is over, and that of usual tests is short.
const longGrace = "grace_period 1m"

func serveOperatedWith(t *testing.T, upstream http.Handler, global, body string) (*site.Site, *operator) {
	t.Helper()
	o := &operator{t, site.FreeAddr(t)}
	return site.ServeGlobal(t, upstream, "admin "+o.addr+"\n"+global, body), o
}

// get requests a path of the document, with name as its parameter.
func (o *operator) get(path, name string) object { return o.do(http.MethodGet, path, name, "", 200) }

func (o *operator) post(path, name, body string) object {
	return o.do(http.MethodPost, path, name, body, 200)
}

// do makes a request, checks the answer, and returns it.
func (o *operator) do(method, path, name, body string, status int) object {
	o.t.Helper()
	template := "/offload/" + path
	for _, parameter := range []string{"{name}", "{id}"} {
		path = strings.ReplaceAll(path, parameter, url.PathEscape(name))
	}
	res, text := o.raw(method, "/offload/"+path, body)
	if res.StatusCode != status {
		o.t.Fatalf("%s %s: got %d %s, want %d", method, path, res.StatusCode, text, status)
	}
	o.check(method, template, res, text)
	var v object
	if err := json.Unmarshal(text, &v); err != nil {
		o.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return v
}

func (o *operator) raw(method, path, body string) (*http.Response, []byte) {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), method, "http://"+o.addr+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // reloads replace the endpoint
	res, err := c.Do(req)
	for try := 0; err != nil && method == http.MethodGet && try < 3; try++ { // the one before had the connection
		res, err = c.Do(req)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return res, text
}

// check compares an answer with the document.
func (o *operator) check(method, template string, res *http.Response, text []byte) {
	o.t.Helper()
	doc, err := document()
	if err != nil {
		o.t.Fatal(err)
	}
	operation := doc.Paths.Find(template).GetOperation(method)
	response := operation.Responses.Status(res.StatusCode)
	if response == nil {
		o.t.Errorf("%s %s: the document knows no status %d", method, template, res.StatusCode)
		return
	}
	media := response.Value.Content.Get(res.Header.Get("Content-Type"))
	if media == nil {
		o.t.Errorf("%s %s: the document knows no content %s", method, template, res.Header.Get("Content-Type"))
		return
	}
	var v any
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&v); err != nil {
		o.t.Errorf("%s %s: %v", method, template, err)
		return
	}
	if err := media.Schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
		o.t.Errorf("%s %s: the answer %s is not as the document says: %v", method, template, text, err)
	}
}

// requests lists those of a pool.
func (o *operator) requests(path, pool string) (all []object) {
	o.t.Helper()
	for _, r := range o.get("pools/{name}/"+path, pool)["requests"].([]any) {
		all = append(all, r.(object))
	}
	return all
}

// eventually polls a pool until the condition holds.
func (o *operator) eventually(pool string, ok func(pool object) bool) {
	o.t.Helper()
	var last object
	met := false
	defer func() {
		if !met {
			o.t.Logf("pool '%s' is %v", pool, last)
		}
	}()
	testkit.Eventually(o.t, func() bool {
		last = o.get("pools/{name}", pool)
		met = ok(last)
		return met
	})
}

func (o *operator) untilWaiting(pool string, n int) {
	o.t.Helper()
	o.eventually(pool, func(p object) bool { return p["waiting"] == float64(n) })
}

// asked is a request on its way.
type asked struct {
	head chan struct{} // closed when there is one
	done chan struct{}
	res  *http.Response
	body string
	err  error
}

// ask sends a request and does not wait for its answer.
func ask(t *testing.T, c *http.Client, url string) *asked {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return askFor(c, req)
}

func askFor(c *http.Client, req *http.Request) *asked {
	a := &asked{head: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		if a.res, a.err = c.Do(req); a.err != nil {
			return
		}
		close(a.head)
		defer a.res.Body.Close()
		body, err := io.ReadAll(a.res.Body)
		a.body, a.err = string(body), err
	}()
	return a
}

// want waits for the answer and checks it; a status of 0 wants none, or half of one.
func (a *asked) want(t *testing.T, status int) {
	t.Helper()
	<-a.done
	switch {
	case status == 0 && a.err == nil:
		t.Errorf("got a whole answer: %d %q", a.res.StatusCode, a.body)
	case status != 0 && (a.err != nil || a.res.StatusCode != status):
		t.Errorf("got %v %v, want %d", a.res, a.err, status)
	}
}
