// Package requests holds the facts about single requests: identity, ID, progress, client,
// and the list of requests that were not served as usual. It does not use runs and starts
// no goroutine.
package requests
