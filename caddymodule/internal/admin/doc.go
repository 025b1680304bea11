// Package admin is the part of Caddy's admin endpoint that shows and controls pools, as
// docs/openapi.yaml describes it.
package admin
