package statuspage

import (
	"bytes"
	"context"
	"embed"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/extratable"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobpage"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
)

//go:embed assets
var assets embed.FS

// document is the HTML of the page.
var document = template.Must(template.ParseFS(assets, "assets/*.html"))

// asset is a file that the page refers to.
type asset struct {
	content []byte
	kind    string
	version string
}

var styles, script = load("page.css", "text/css; charset=utf-8"), load("page.js", "text/javascript; charset=utf-8")

func load(name, kind string) asset {
	content, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // the file is in this binary
	}
	sum := fnv.New64a()
	_, _ = sum.Write(content)
	return asset{content, kind, hex.EncodeToString(sum.Sum(nil))}
}

// Options are what may differ between pages.
type Options struct {
	// Actions allows the actions of operators.
	Actions bool
	// ActionsHint says how to allow them.
	ActionsHint string
	// Acted is called after each action with its error; nil: it is not.
	Acted func(*http.Request, Action, error)
}

// Page serves the live page.
type Page struct {
	hub     *Hub
	options Options
	open    context.Context // ends with Close
	close   context.CancelFunc
}

// New returns a page with the numbers of a hub, until Close.
func New(hub *Hub, options Options) *Page {
	p := &Page{hub: hub, options: options}
	p.open, p.close = context.WithCancel(context.Background())
	return p
}

// Close ends the streams of the page. The page itself can still be requested. A second call
// does nothing.
func (p *Page) Close() { p.close() }

// serve writes the file. A file with a matching version never changes, so browsers may keep
// it.
func (a asset) serve(w http.ResponseWriter, version string) error {
	w.Header().Set("Content-Type", a.kind)
	if version == a.version {
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	_, _ = w.Write(a.content)
	return nil
}

// reject answers with a text.
func (p *Page) reject(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
	return nil
}

// content is what the document shows.
type content struct {
	CSS, JS string // versions
	Clock   clock
	Token   string // empty without actions
	Name    string // of the pool that is shown, empty for all pools

	Overview overview
	Pools    []poolRow
	Spool    [][]string
	Tables   []extratable.Table
	Detail   *poolDetail // nil if there is no such pool, and for all pools
	Settable []string

	Unserved, Slowest []ended

	HasJobs bool          // there are tabs for pools and jobs
	Jobs    *jobpage.Page // nil if the page is about pools
}

// BlankJob is an empty row, the template for jobs that appear later.
func (c content) BlankJob() shownJob { return shownJob{Act: c.Token != ""} }

// shownJob is a row of a list of jobs.
type shownJob struct {
	jobpage.Row
	Act bool // it has buttons
}

// ShownJobs returns the rows of a list of jobs for the document.
func (c content) ShownJobs() (all []shownJob) {
	for _, row := range c.Jobs.Rows {
		all = append(all, shownJob{row, c.Token != ""})
	}
	return all
}

// BlankPool is an empty row, the template for pools that appear later.
func (content) BlankPool() poolRow { return poolRow{} }

// BlankEnded is an empty entry, the template for requests that end later.
func (content) BlankEnded() ended { return ended{} }

// BlankTable is an empty table, the template for tables of plugins that appear later.
func (content) BlankTable() extratable.Table { return extratable.Table{} }

// shownList is a list of requests with the data for its table.
type shownList struct {
	list
	Kind    string // waiting or running
	Places  bool   // the first column has places in the queue
	Cancel  bool   // each row has a button
	Classes []string
}

// List returns a list of requests for the document.
func (c content) List(kind string, l list) shownList {
	s := shownList{l, kind, kind == "waiting", c.Token != "", []string{"", "n", "low", "long", "low", "low"}}
	if s.Places {
		s.Classes[0] = "n"
	}
	return s
}

// show writes the document.
func (p *Page) show(w http.ResponseWriter, r *http.Request, v view) error {
	f := p.hub.look(r.Context(), v)
	if f.moment == nil {
		return nil // the client has left
	}
	c := content{
		CSS: styles.version, JS: script.version, Name: v.pool, Clock: f.clock(), Overview: f.overview(),
		Unserved: f.unserved(v.pool), Slowest: f.slowest(v.pool), HasJobs: f.Jobs,
	}
	if p.options.Actions {
		c.Token, c.Settable = tokenFor(r.Host), settings.Overridable.Names()
	}
	status := http.StatusOK
	if v.jobs {
		jobs := f.jobs[v.ofJobs]
		c.Jobs = &jobs
	} else if v.pool == "" {
		c.Pools, c.Spool, c.Tables = f.rows(), f.spool(), f.tables()
	} else if detail, ok := f.detailOf(v.pool); ok {
		c.Detail = &detail
	} else {
		status = http.StatusNotFound
	}
	var text bytes.Buffer
	if err := document.ExecuteTemplate(&text, "page.html", c); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = text.WriteTo(w)
	return nil
}
