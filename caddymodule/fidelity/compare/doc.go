// Package compare sends the same requests through plain Caddy and through offload, and
// compares what clients and upstreams see. The differences that are meant stand in its table
// of deviations.
package compare
