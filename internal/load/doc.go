// Package load sends requests to a server from a crowd of clients and a probe, and reports
// the outcomes. It is for the demos, which show a few figures to a reader; bench/ measures
// peak load.
package load
