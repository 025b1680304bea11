package backends

import (
	"fmt"
	"slices"
	"strings"
)

// Backend is a kind of server, by its treatment of requests that block.
type Backend struct {
	// Name is the value of --backend.
	Name string
	// Title is the name for a reader.
	Title string
	// Concurrency is the number of permits for the server with its default settings.
	Concurrency int
	// Reason is the reason of Concurrency, as one sentence without a full stop.
	Reason string
	// More is the concurrency for a server with other settings.
	More string
	// KeepaliveOff is the reason not to keep connections to the server open; empty: they
	// are kept.
	KeepaliveOff string
	// Stops is the reason why the server stops working when its connection closes; empty:
	// it works on, and a run keeps its permit until the server has ended it.
	Stops string
	// FastCGI: the server uses FastCGI, and the proxy serves files itself.
	FastCGI bool
}

// All returns the known backends, in the order of their names.
func All() []Backend { return slices.Clone(catalogue) }

// Find returns the backend with a name. The error lists the known names.
func Find(name string) (Backend, error) {
	i := slices.IndexFunc(catalogue, func(b Backend) bool { return b.Name == name })
	if i < 0 {
		return Backend{}, fmt.Errorf("unknown backend %q: known are %s", name, strings.Join(Names(), ", "))
	}
	return catalogue[i], nil
}

// Names returns the names of [All].
func Names() []string {
	names := make([]string, len(catalogue))
	for i, b := range catalogue {
		names[i] = b.Name
	}
	return names
}
