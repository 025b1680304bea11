// Package clients has the behaviour of real clients after answers of offload, for
// docs/clients.md: the results of the tests in caddymodule/clients, and the settings to use
// in each client.
package clients
