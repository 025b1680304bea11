package hall

import (
	"fmt"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// TwoClients returns a light client with runs of 20 ms and a heavy one with runs of 2 s, for
// 40 s, with 50 connections each. The heavy client is alone for a time before.
func TwoClients(alone time.Duration) []Party {
	to := alone + 40*time.Second
	return []Party{
		{Claim: offloader.Claim{Key: "light"}, Run: 20 * time.Millisecond, Connections: 50, From: alone, To: to},
		{Claim: offloader.Claim{Key: "heavy"}, Run: 2 * time.Second, Connections: 50, To: to},
	}
}

// GreedyClient returns a client with 200 connections and 50 modest ones with one connection
// each, for a minute, with runs of 100 ms.
func GreedyClient() []Party {
	parties := []Party{{Claim: offloader.Claim{Key: "greedy"}, Connections: 200}}
	parties = append(parties, alike(50, 1)...)
	for i := range parties {
		parties[i].Run, parties[i].To = 100*time.Millisecond, time.Minute
	}
	return parties
}

// MadeUpKeys returns a stream of 2000 made-up keys a second, which begins after 10 s, and
// known clients with two connections each, until 30 s, with runs of 100 ms.
func MadeUpKeys(known int) []Party {
	parties := []Party{{PerSecond: 2000, Fresh: true, From: 10 * time.Second}}
	parties = append(parties, alike(known, 2)...)
	for i := range parties {
		parties[i].Run, parties[i].To = 100*time.Millisecond, 30*time.Second
	}
	return parties
}

// Newcomer returns a client with runs of 50 ms that comes after 20 s, and two others with
// runs of 500 ms, until 30 s, with 50 connections each.
func Newcomer() []Party {
	return []Party{
		{Claim: offloader.Claim{Key: "new"}, Run: 50 * time.Millisecond, Connections: 50, From: 20 * time.Second, To: 30 * time.Second},
		{Claim: offloader.Claim{Key: "a"}, Run: 500 * time.Millisecond, Connections: 50, To: 30 * time.Second},
		{Claim: offloader.Claim{Key: "b"}, Run: 500 * time.Millisecond, Connections: 50, To: 30 * time.Second},
	}
}

// alike returns n clients with a key and so many connections each.
func alike(n, connections int) []Party {
	parties := make([]Party, n)
	for i := range parties {
		parties[i] = Party{Claim: offloader.Claim{Key: fmt.Sprint(i)}, Connections: connections}
	}
	return parties
}
