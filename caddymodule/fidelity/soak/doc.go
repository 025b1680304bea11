// Package soak runs a mixed load with faults of clients and backends, and checks for wrong
// answers and for leaks.
package soak
