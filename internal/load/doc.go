// Package load sends requests to a server as a crowd of clients does, together
// with a probe, and reports the outcomes. It is for the demos, which show a few
// figures to a reader; bench/ measures at the limit.
package load
