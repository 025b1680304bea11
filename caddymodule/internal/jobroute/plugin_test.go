package jobroute_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

func TestMain(m *testing.M) { site.Main(m) }

func init() {
	caddy.RegisterModule(new(app))
	caddy.RegisterModule(new(route))
	caddy.RegisterModule(new(broken))
	httpcaddyfile.RegisterGlobalOption("broken", func(*caddyfile.Dispenser, any) (any, error) {
		return httpcaddyfile.App{Name: "broken", Value: []byte("{}")}, nil
	})
}

// calls are those to the apps of the plugin, in order, with the names of their stores.
type calls struct {
	mu  sync.Mutex
	all []string
}

var called calls

func (c *calls) add(method string, a *app) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, method+" "+a.Store)
}

// take returns the calls since the last one.
func (c *calls) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := strings.Join(c.all, ", ")
	c.all = nil
	return text
}

// app is a plugin that keeps its jobs nowhere.
type app struct {
	Store string `json:"store,omitempty"`

	routes []*route
}

func (*app) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: jobhost.AppModule, New: func() caddy.Module { return new(app) }}
}

func (a *app) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	b := caddyfileblock.New(d)
	return b.Each(0, func() (err error) {
		if b.Option != "store" {
			return d.Errf("unrecognized '%s'", b.Option)
		}
		a.Store, err = b.Name()
		return err
	})
}

// errTaken is for the store of that name.
var errTaken = errors.New("the store is taken")

func (a *app) Open() error {
	called.add("open", a)
	if a.Store == "taken" {
		return errTaken
	}
	return nil
}

func (a *app) Bind()  { called.add("bind", a) }
func (a *app) Drain() { called.add("drain", a) }

func (a *app) Close() error {
	called.add("close", a)
	return nil
}

// route makes a job of each request with the field Job, unless that is "no", and answers with the job's result.
type route struct {
	Name   string              `json:"name,omitempty"`
	Handle caddyhttp.RouteList `json:"handle,omitempty"`

	host jobhost.Host
	next caddyhttp.Handler
}

func (*route) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: jobhost.RouteModule, New: func() caddy.Module { return new(route) }}
}

func (r *route) ParseJobs(h httpcaddyfile.Helper) error {
	d := h.Dispenser
	d.Next()
	b := caddyfileblock.New(d)
	return b.Each(0, func() (err error) {
		switch b.Option {
		case "name":
			r.Name, err = b.Name()
		case "handle":
			var handler caddyhttp.MiddlewareHandler
			if handler, err = httpcaddyfile.ParseSegmentAsSubroute(h.WithDispenser(d.NewFromNextSegment())); err == nil {
				r.Handle = handler.(*caddyhttp.Subroute).Routes
			}
		default:
			err = d.Errf("unrecognized '%s'", b.Option)
		}
		return err
	})
}

func (r *route) Provision(ctx caddy.Context) error {
	err := r.Handle.Provision(ctx)
	r.next = r.Handle.Compile(caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
	return err
}

func (r *route) Attach(host jobhost.Host) error {
	r.host = host
	a := host.App().(*app)
	a.routes = append(a.routes, r)
	return nil
}

func (r *route) Routes() caddyhttp.RouteList { return r.Handle }

func (*route) Takes(_ http.Header, req *http.Request) bool {
	job := req.Header.Get("Job")
	return job != "" && job != "no"
}

// Serve runs the job until the client leaves, on another goroutine as a plugin does.
func (r *route) Serve(w http.ResponseWriter, req *http.Request) error {
	result := httptest.NewRecorder()
	done := make(chan jobhost.Result)
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := context.AfterFunc(req.Context(), func() { cancel(errors.New("not wanted")) })
	defer stop()
	go func() {
		job := httptest.NewRequestWithContext(ctx, req.Method, req.URL.String(), strings.NewReader("body"))
		job = caddyhttp.PrepareRequest(job, caddy.NewReplacer(), result, r.host.Server())
		done <- r.host.Run(result, job, r.next, jobhost.Options{Tenant: req.Header.Get("Tenant"), Now: req.Header.Get("Job") == "now"})
	}()
	res := <-done
	cancel(nil)
	results.keep(res)
	_, err := fmt.Fprintf(w, "%s/%s: started=%t reason=%s again=%t sent=%t status=%d complete=%t failed=%t written=%t body=%s",
		r.host.Pool(), r.host.Name(), res.Started, reasonOf(res), res.RetryAfter >= time.Second, res.Sent, res.Status, res.Complete,
		res.Err != nil, len(result.Result().Header) > 0, result.Body)
	return err
}

func reasonOf(res jobhost.Result) string {
	if res.Reason == 0 {
		return ""
	}
	return res.Reason.String()
}

// kept has the results of all jobs.
type kept struct {
	mu  sync.Mutex
	all []jobhost.Result
}

var results kept

func (k *kept) keep(res jobhost.Result) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, res)
}

// last returns the last result that fits.
func (k *kept) last(fits func(jobhost.Result) bool) (jobhost.Result, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, res := range slices.Backward(k.all) {
		if fits(res) {
			return res, true
		}
	}
	return jobhost.Result{}, false
}

// broken is an app that does not start.
type broken struct{}

func (*broken) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "broken", New: func() caddy.Module { return new(broken) }}
}

func (*broken) Start() error { return errors.New("broken on purpose") }
func (*broken) Stop() error  { return nil }

var (
	_ jobhost.AppParser   = (*app)(nil)
	_ jobhost.RouteParser = (*route)(nil)
)
