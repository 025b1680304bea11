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
	// More is the number for a server with other settings.
	More string
	// KeepaliveOff is the reason not to keep connections to it; empty: they are kept.
	KeepaliveOff string
	// Stops is the reason why it stops when its connection closes; empty: it does not,
	// and a run keeps its permit until the server has ended it.
	Stops string
	// FastCGI means that it uses FastCGI, and that the proxy serves files itself.
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
