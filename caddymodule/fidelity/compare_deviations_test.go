package fidelity_test

import (
	"fmt"
	"slices"
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
		applies: func(o offloading, tr *trial, _ string) bool {
			return o.keepsRequests && tr.body.untold && len(tr.trailers) == 0
		},
		expect: func(x *exchange, tr *trial) {
			for i := range x.upstream {
				fields := &x.upstream[i].fields
				if at := slices.Index(*fields, "(length): -1 [chunked]"); at >= 0 {
					(*fields)[at] = fmt.Sprintf("(length): %d []", tr.body.length)
					*fields = append(*fields, fmt.Sprintf("Content-Length: %d", tr.body.length))
					sortFields(*fields)
				}
			}
		},
	},
}
