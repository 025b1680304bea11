// Package backends has the settings of a pool in front of each known kind of server.
// The sidecar's flag --backend and the table of docs/backends.md use it; a test
// compares it with the measurements in docs/backends.json.
package backends
