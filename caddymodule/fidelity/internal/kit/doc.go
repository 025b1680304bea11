// Package kit is what the tests of fidelity share: bodies whose bytes tell their place,
// routes that count their requests, HTTP/2 frame by frame, and processes of their own.
package kit
