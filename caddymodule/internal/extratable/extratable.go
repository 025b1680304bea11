// Package extratable has the tables that other plugins add to live views of the process,
// such as the workers of Celery. The core has no such table, and imports no such plugin.
package extratable

// Table is a table of another plugin. All texts may come from other machines.
type Table struct {
	Title   string     `json:"title"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// sources are written before main begins.
var sources []func() []Table

// Register adds the tables that source returns. Call it from an init function. source is
// called about once a second while there is a viewer, and must not wait.
func Register(source func() []Table) { sources = append(sources, source) }

// All returns the tables of all plugins now.
func All() []Table {
	var all []Table
	for _, source := range sources {
		all = append(all, source()...)
	}
	return all
}
