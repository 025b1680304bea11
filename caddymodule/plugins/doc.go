// Package plugins tests offload next to other plugins and Caddy's own handlers: each in
// front of it and behind it, against the same site without it, on every version of HTTP.
// The plugins are built into a separate Caddy, from the module in testdata/lab, so that
// users of offload get none of them. The tests are built with the tag "integration" only,
// since they build that Caddy:
//
//	go test -tags=integration ./caddymodule/plugins
package plugins
