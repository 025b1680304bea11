// Package leave tests clients that leave in each phase of a request, and in each way.
package leave
