// Package pools keeps the pools of the process. They outlive configurations: a reload finds
// its pools with all the requests that wait and run in them. The package logs and counts
// what becomes of them, ends them when the process exits, and knows no request but by the
// interface [Request].
package pools
