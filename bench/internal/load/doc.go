// Package load is the load generator: closed and open loops, slow clients,
// event readers, rotating slices and a crowd of waiting requests, each over
// plain TCP connections with requests built beforehand.
//
// It is not a general HTTP client: it speaks just as much HTTP/1.1 as the
// scenarios need and spends as little CPU as it can, because it shares the
// machine with what it measures. Latencies of the open loop count from the
// moment at which a request was due, so a generator that falls behind makes the
// figures worse, not better.
//
// A Job, a SliceJob or a CrowdJob describes the load; Serve runs one in a
// process of its own that reads it from standard input.
package load
