// Package pools keeps pools in a [Table]. Pools outlive configurations: after a reload they
// still have all requests that wait and run in them. The package logs and counts the events
// of pools, and ends them when the process exits. It uses requests only by the interface
// [Request]. None of its package variables changes: package state owns the tables.
package pools
