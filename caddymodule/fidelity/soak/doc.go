// Package soak plays a mixed load with faults on both sides, and looks for wrong answers and
// for leaks.
package soak
