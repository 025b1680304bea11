// Package clients tests offload behind real clients: what each of them sees of a rejection,
// how often it sends the same call again and when, and whether those that obey are served
// while others do not. Its tests are built with the tag "integration" only, since they need
// those clients:
//
//	.ci/clients
//	go test -tags=integration ./caddymodule/clients
package clients
