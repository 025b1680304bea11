// Package backends says what a pool in front of a known kind of server is set to. The
// sidecar's flag --backend and the table of docs/backends.md both come from it; a test
// holds it against what was measured, which is in docs/backends.json.
package backends
