package load

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/journal"
)

// Kind is the way in which the requests of a stream follow each other.
type Kind string

// The kinds of streams.
const (
	Closed     Kind = "closed"      // each client sends its next request when it has its answer
	Open       Kind = "open"        // requests start by the clock, independent of the earlier ones
	SlowReader Kind = "slow-reader" // each client reads its answer at Pace
	SlowWriter Kind = "slow-writer" // each client sends its body at Pace
	Events     Kind = "events"      // each client reads time stamped server-sent events
)

// Stream is one kind of clients of a job.
type Stream struct {
	Kind     Kind
	Addr     string
	Path     string
	Header   string        // further header lines, each with its CRLF
	Body     int           // bytes to send; 0 makes it a GET
	Clients  int           // all kinds but Open
	Requests int           // per client; 0: as many as fit into Duration
	Rate     float64       // Open: requests per second
	First    int           // Open: number of the first request, which journal.Header carries; 0: they have no numbers
	Duration time.Duration // of the whole stream: no request starts after it
	Timeout  time.Duration // timeout of one request, from the time at which it was due
	Cut      time.Duration // Closed: requests that have not ended this long after Duration are left out; 0: all are waited for
	Pause    time.Duration // Closed and slow: pause of a client after a rejection; slow ones then send the request again
	Pace     int           // slow clients: bytes per second
}

// Job is the load of one process: all streams at the same time.
type Job struct {
	Streams []Stream
}

// Sample is one request. An event of an Events stream is a sample too: Took is
// its delay.
type Sample struct {
	Start  time.Duration `json:"s"` // when it was due, from the start of the job
	Late   time.Duration `json:"l"` // how much later it was sent
	Took   time.Duration `json:"t"` // from the time at which it was due to the last byte
	Status int           `json:"c"` // 0: no complete answer within the timeout
	Number int           `json:"n"` // of the request, if its stream has numbers
}

// OK reports whether the request was answered with success.
func (s Sample) OK() bool { return s.Status >= 200 && s.Status < 400 }

// Refused reports whether the request got a complete answer without success.
func (s Sample) Refused() bool { return s.Status >= 400 }

// Result has the samples of each stream of a job, in the order of the streams.
type Result struct {
	Began   time.Time // start of the job
	Streams [][]Sample
}

// Run runs all streams of the job and returns when the last one has ended.
func Run(ctx context.Context, job Job) (Result, error) {
	start := time.Now()
	result := Result{Began: start, Streams: make([][]Sample, len(job.Streams))}
	errs := make([]error, len(job.Streams))
	var streams sync.WaitGroup
	for i, stream := range job.Streams {
		streams.Go(func() {
			result.Streams[i], errs[i] = stream.run(ctx, start)
		})
	}
	streams.Wait()
	for i, err := range errs {
		if err != nil {
			return Result{}, fmt.Errorf("stream %d (%s): %w", i, job.Streams[i].Kind, err)
		}
	}
	return result, nil
}

func (s Stream) run(ctx context.Context, start time.Time) ([]Sample, error) {
	switch s.Kind {
	case Closed:
		return s.runClients(ctx, start, s.closedClient), nil
	case Open:
		return s.runOpen(ctx, start)
	case SlowReader:
		return s.runClients(ctx, start, s.slowReader), nil
	case SlowWriter:
		return s.runClients(ctx, start, s.slowWriter), nil
	case Events:
		return s.runClients(ctx, start, s.eventReader), nil
	default:
		return nil, fmt.Errorf("unknown kind %q", s.Kind)
	}
}

// runClients runs s.Clients clients in parallel and joins their samples.
func (s Stream) runClients(
	ctx context.Context, start time.Time, client func(context.Context, time.Time) []Sample,
) []Sample {
	var (
		mu      sync.Mutex
		samples []Sample // guarded by mu
		clients sync.WaitGroup
	)
	for range s.Clients {
		clients.Go(func() {
			own := client(ctx, start)
			mu.Lock()
			defer mu.Unlock()
			samples = append(samples, own...)
		})
	}
	clients.Wait()
	return samples
}

// request builds the bytes of one request of the stream.
func (s Stream) request() []byte {
	var b bytes.Buffer
	b.Write(s.requestHead())
	b.Write(make([]byte, s.Body))
	return b.Bytes()
}

// numbered returns the stream with the header of its i-th request.
func (s Stream) numbered(i int) Stream {
	s.Header += fmt.Sprintf("%s: %d\r\n", journal.Header, s.First+i)
	return s
}

func (s Stream) requestHead() []byte {
	var b bytes.Buffer
	method := "GET"
	if s.Body > 0 {
		method = "POST"
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, s.Path, s.Addr, s.Header)
	if s.Body > 0 {
		fmt.Fprintf(&b, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", s.Body)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
