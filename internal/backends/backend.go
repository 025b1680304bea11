package backends

import (
	"fmt"
	"slices"
	"strings"
)

// Backend is a kind of server, by how it treats requests that block.
type Backend struct {
	// Name is what --backend takes.
	Name string
	// Title is the name for a reader.
	Title string
	// Concurrency is the number of permits that fits the server as it is without
	// settings of its own.
	Concurrency int
	// Reason says why, in one sentence without its end.
	Reason string
	// More says which other number fits a server that has settings of its own.
	More string
	// KeepaliveOff says why connections to it are not to be kept; empty: they are.
	KeepaliveOff string
	// Stops says why it may be trusted to stop when its connection closes; empty: it may
	// not, and a run keeps its permit until the server has ended it.
	Stops string
	// FastCGI says that it speaks FastCGI, and that files are served in front of it.
	FastCGI bool
}

// All are the backends that are known, in the order of their names.
func All() []Backend { return slices.Clone(catalogue) }

// Find returns the backend of that name. The error lists the names that are known.
func Find(name string) (Backend, error) {
	i := slices.IndexFunc(catalogue, func(b Backend) bool { return b.Name == name })
	if i < 0 {
		return Backend{}, fmt.Errorf("unknown backend %q: known are %s", name, strings.Join(Names(), ", "))
	}
	return catalogue[i], nil
}

// Names are those of [All].
func Names() []string {
	names := make([]string, len(catalogue))
	for i, b := range catalogue {
		names[i] = b.Name
	}
	return names
}
