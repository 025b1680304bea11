// Package kit has the parts that the tests of fidelity share: bodies whose bytes show their
// offset, routes that count their requests, the numbers of pools, HTTP/2 frame by frame, and
// separate processes.
package kit
