// Package requestbody reads request bodies from their clients, into the spool or ahead of a
// run. It decides which bodies are passed on as they arrive.
package requestbody
