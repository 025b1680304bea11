// Package fidelity holds the tests of one promise: all that works through plain Caddy works
// through `offload`. The same requests go through a route without and through one with the
// directive, over every version of HTTP, and clients and upstreams must not notice a
// difference. Each folder holds one kind of test; internal/kit has their shared parts.
package fidelity
