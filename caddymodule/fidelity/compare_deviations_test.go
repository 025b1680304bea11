package fidelity_test

import (
	"fmt"
	"slices"
	"strings"
)

// deviation is a difference from plain Caddy that is meant.
type deviation struct {
	what, reason string
	// applies says where it is to be seen.
	applies func(o offloading, tr *trial, version string) bool
	// expect makes the record of plain Caddy what offload's must be.
	expect func(x *exchange, tr *trial)
}

// deviations are all that DESIGN.md, docs/ and the decisions allow.
var deviations = []deviation{
	{
		what:   "an upload of unknown length that was spooled goes on with a Content-Length",
		reason: "its length is known then, and upstreams without support for chunks take it",
		applies: func(o offloading, tr *trial, version string) bool {
			untold := tr.body.untold || (version == "h3" && tr.body.open == nil)
			return o.keepsRequests && untold && len(tr.trailers) == 0
		},
		expect: func(x *exchange, tr *trial) {
			for i := range x.upstream {
				tellLength(&x.upstream[i], tr.body)
			}
		},
	},
	{
		what:   "a body that cannot be read is answered with 400, and its upstream sees nothing of it",
		reason: "it is the client's fault, and known before the run; reverse_proxy says 502",
		applies: func(o offloading, tr *trial, _ string) bool {
			return o.keepsRequests && tr.broken
		},
		expect: func(x *exchange, tr *trial) {
			x.refuse("400 Bad Request")
		},
	},
}

// tellLength is what a spooled body of unknown length looks like to the upstream.
func tellLength(m *message, b body) {
	at := slices.Index(m.fields, "(length): -1 [chunked]")
	if at < 0 {
		return
	}
	m.fields[at] = fmt.Sprintf("(length): %d []", b.length)
	if b.open != nil {
		m.fields = append(m.fields, fmt.Sprintf("Content-Length: %d", b.length))
		sortFields(m.fields)
	}
}

// refuse is what a refused request looks like to a raw client.
func (x *exchange) refuse(status string) {
	x.upstream = nil
	x.after = "closed"
	x.answers[0].start = "HTTP/1.1 " + status
	x.answers[0].fields = append(x.answers[0].fields, "Connection: close")
	code, _, _ := strings.Cut(status, " ")
	last := &x.log[len(x.log)-1]
	*last = strings.Replace(*last, "status 502", "status "+code, 1)
}
