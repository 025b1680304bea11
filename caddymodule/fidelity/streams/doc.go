// Package streams tests answers and requests that go on: events, gRPC, incremental bodies.
package streams
