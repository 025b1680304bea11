// Package requests holds what is known of single requests: identity, id, progress, client,
// and the list of those that were not served as usual. It knows no run and starts nothing.
package requests
