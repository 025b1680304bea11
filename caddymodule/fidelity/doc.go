// Package fidelity holds the tests of one promise: whatever works through plain
// Caddy works through `offload`. The same requests go through a route without
// and through one with the directive, over every version of HTTP, and clients
// and upstreams must not notice a difference. It has no code of its own.
//
// The few differences that are meant stand in the table of deviations.
package fidelity
