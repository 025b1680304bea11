// Package raw sends bytes that no client sends, to a route without offload and to one with
// it: both must agree on where a request ends.
package raw
