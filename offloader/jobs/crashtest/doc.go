// Package crashtest tests jobs across ends of processes and of machines, with the service and
// its engine in a child process. What the child has done is in a journal outside of the store,
// with which the store is compared after the last end.
package crashtest
