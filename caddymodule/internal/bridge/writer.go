// Package bridge is the response writer that a run gets instead of the client's. It
// separates the run from a slow client: body bytes that the client does not take at once go
// to a stream, and a second goroutine, the helper, sends them to the client while the run
// goes on. The package uses net/http, not Caddy.
//
// Apart from the helper and a flush for a run that pauses, everything happens on the
// connection's own goroutine, the final head included: outer handlers expand placeholders
// in WriteHeader, and the maps behind those have no lock.
package bridge

import "net/http"

// usualHeader is how many fields a run usually sets.
const usualHeader = 6

// Writer is the response writer of one run. It belongs to the goroutine of the run, except
// for 1xx heads, which a transport writes from another goroutine, and Kill and AnswerStuck,
// which may be called from any goroutine.
//
// Each call first asks the state, under its lock, and then works without the lock: on the
// client, or on the relay if the body is spooled.
type Writer struct {
	state           // embedded for its exported methods: Status, Lost and others
	client   client // the writer that answers the client
	relay    relay  // takes a spooled body to it
	opts     Options
	header   http.Header // the run's own map
	eager    bool        // the run has asked not to be buffered
	informed uint8       // number of 1xx heads; guarded by the client's lock
}

// Init makes a zero Writer the writer of a run that answers req on the writer to.
func (w *Writer) Init(to http.ResponseWriter, req *http.Request, o Options) {
	w.opts = o
	w.state = state{finishes: o.Finish}
	w.client = client{w: to, req: req}
	w.relay.opts, w.relay.state, w.relay.client = &w.opts, &w.state, &w.client
	own := to.Header()
	w.header = make(http.Header, len(own)+usualHeader)
	replaceHeader(w.header, own)
}

// Header returns the run's own header map. It is copied to the client's map with the head,
// and its trailers at the end.
func (w *Writer) Header() http.Header { return w.header }
