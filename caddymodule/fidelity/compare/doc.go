// Package compare sends the same requests through plain Caddy and through offload, and
// compares what clients and upstreams get. The intended differences are in its table of
// deviations.
package compare
