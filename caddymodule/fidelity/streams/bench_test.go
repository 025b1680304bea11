package streams

import (
	"slices"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// BenchmarkAddedDelay measures how long a piece of a stream is on its way from the
// backend to the client, without offload and with it, by turns. The aim is that the
// 99th percentile grows by less than 2 ms.
//
//	go test -run '^$' -bench AddedDelay -benchtime 5000x ./caddymodule/fidelity
func BenchmarkAddedDelay(b *testing.B) {
	p := newPacer(b)
	plain, offloaded := pacedTwins(b, p)
	for _, version := range []string{"h1", "h2", "h3"} {
		for _, kind := range []string{"events", "lines", "chunks", "no end in view", "incremental", "known length"} {
			b.Run(version+"/"+kind, func(b *testing.B) {
				var streams []*paced
				for _, s := range []*site.Site{offloaded, plain} {
					if s == plain && kind == "known length" {
						continue // nothing would come
					}
					streams = append(streams, p.stream(b, s, s.Clients()[version], kind))
				}
				measureDelays(b, streams)
			})
		}
	}
}

func measureDelays(b *testing.B, streams []*paced) {
	delays := make([][]time.Duration, len(streams))
	for b.Loop() {
		for i, s := range streams {
			delays[i] = append(delays[i], s.next())
		}
	}
	for i, s := range streams {
		s.end()
		slices.Sort(delays[i])
		name := [...]string{"offload", "plain"}[i]
		b.ReportMetric(microseconds(delays[i][len(delays[i])/2]), name+"-p50-µs")
		b.ReportMetric(microseconds(delays[i][len(delays[i])*99/100]), name+"-p99-µs")
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
