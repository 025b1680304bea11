// Package fidelity has the tests of one promise: all that works through plain Caddy works
// through `offload`. The same requests go through a route without the directive and through
// a route with it, over every version of HTTP, and clients and upstreams must not notice a
// difference. Each folder has one kind of test; internal/kit has their shared parts.
package fidelity
