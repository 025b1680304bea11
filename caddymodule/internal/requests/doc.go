// Package requests holds the facts about single requests: identity, id, progress, client,
// and the list of requests that were not served as usual. It uses no run and starts no
// goroutine.
package requests
