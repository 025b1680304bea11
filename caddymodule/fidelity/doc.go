// Package fidelity has no code but tests: a site with "offload" is put beside the
// same site without, and a client must not be able to tell them apart by anything
// but the order in which requests are served.
package fidelity
