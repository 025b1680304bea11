// Package load is the load generator: closed and open loops, slow clients,
// event readers, rotating slices and a crowd of waiting requests, each over
// plain TCP connections with prebuilt requests.
//
// It is not a general HTTP client: it implements only the HTTP/1.1 that the
// scenarios need and uses as little CPU as possible, because it shares the
// machine with the measured servers. Latencies of the open loop count from the
// time at which a request was due, so a generator that falls behind makes the
// figures worse, not better.
//
// A Job, a SliceJob or a CrowdJob describes the load; Serve runs one in a
// separate process that reads it from standard input.
package load
