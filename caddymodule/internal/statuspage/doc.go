// Package statuspage is the live page about the pools of a process: one HTML document that
// has all numbers without JavaScript, a stream of changes for JavaScript, and actions if
// they are allowed. The page works at any path and below any prefix, since all parameters
// of its requests are in the query.
//
// One [Hub] collects the numbers for all viewers of a process, and only while there are
// viewers.
package statuspage
