// Package serving takes one request through its pool: it reads the body, waits for a
// permit, runs the handlers behind "offload", passes the answer on and gives the permit
// back. A [Route] is what a handler has configured, a [Run] is one request. The package
// knows pools, and neither the configuration nor the admin endpoint.
package serving
