package compare

import (
	"io"
	"net/http"
	"testing"
)

// tillTheEnd writes until its request is cancelled or a write fails, and records that.
func tillTheEnd(w http.ResponseWriter, r *http.Request) {
	p := playOf(r.Context())
	typed(w)
	for r.Context().Err() == nil {
		if _, err := w.Write(pattern(10000)); err != nil {
			break
		}
		flush(w)
	}
	p.note("the upstream was told to stop")
}

// Clients that leave. The upstream is cancelled, unless it is presumed to work on.
func TestCompareLeaves(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		playOf(r.Context()).note("the upstream was told to stop")
	}
	afterHead := func(p *play) { p.clientHas(0) }
	trials := []trial{
		{name: "after the head", answer: func(w http.ResponseWriter, r *http.Request) { typed(w); hang(w, r) }, request: request{leave: afterHead}},
		{name: "after a part", answer: func(w http.ResponseWriter, r *http.Request) {
			typed(w)
			_, _ = w.Write(pattern(5000))
			flush(w)
			hang(w, r)
		}, request: request{leave: func(p *play) { p.clientHas(5000) }}},
		{name: "in the middle", answer: tillTheEnd, request: request{leave: func(p *play) { p.clientHas(100000) }}},
		{name: "between events", answer: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			flush(w)
			hang(w, r)
		}, request: request{leave: func(p *play) { p.clientHas(9) }}},
		{name: "after an upload and a part", answer: tillTheEnd, request: request{
			method: "POST", body: sized(50 * kib), leave: func(p *play) { p.clientHas(50000) },
		}},
		{name: "before the head of an answer without an end", request: request{leave: func(p *play) { p.upstreamHas(0) }}, answer: func(w http.ResponseWriter, r *http.Request) {
			playOf(r.Context()).clientLeft()
			tillTheEnd(w, r)
		}},
	}
	// By default a run goes on for a while, unless it is a stream of events: a deviation
	// of which on_abandon is the switch.
	early := trial{name: "before the head", answer: hang, normal: leftBehind, request: request{leave: func(p *play) { p.upstreamHas(0) }}}
	for i := range trials {
		trials[i].normal = leftBehind
	}
	t.Run("with on_abandon cancel", func(t *testing.T) {
		compareWith(t, proxied, []offloading{{"cancelled", "breaker off\non_abandon cancel", true, true}}, append(trials, early)...)
	})
	t.Run("events", func(t *testing.T) { compare(t, proxied, trials[3]) })
}

// leftBehind drops the records of events after the client has left.
func leftBehind(x *exchange) {
	forgetRead(x)
	x.log = nil
}
