// Package load asks a server for things as a crowd of clients does, with a probe
// beside it, and tells how that went. It is for the demos, which show a handful
// of figures to a person; measuring at the limit is what bench/ is for.
package load
