package load

import (
	"context"
	"errors"
	"sync"
	"time"
)

// runOpen starts a request at each tick of a regular clock, whether or not
// the earlier ones have ended, and waits for all of them.
func (s Stream) runOpen(ctx context.Context, start time.Time) ([]Sample, error) {
	lines := pool{addr: s.Addr, buffer: answerBuffer}
	defer lines.close()
	return s.runOver(ctx, start, &lines)
}

// runOver is runOpen over the connections of the pool.
func (s Stream) runOver(ctx context.Context, start time.Time, lines *pool) ([]Sample, error) {
	if s.Rate <= 0 {
		return nil, errors.New("a load with an open loop needs a rate")
	}
	interval := time.Duration(float64(time.Second) / s.Rate)
	count := int(s.Rate * s.Duration.Seconds())
	samples := make([]Sample, count)
	request := s.request()
	var requests sync.WaitGroup
	for i := range count {
		due := start.Add(time.Duration(i) * interval)
		rest(ctx, time.Until(due))
		if ctx.Err() != nil {
			samples = samples[:i]
			break
		}
		requests.Go(func() {
			sample := &samples[i]
			if s.First == 0 {
				*sample = s.openRequest(ctx, lines, request, due)
			} else {
				*sample = s.openRequest(ctx, lines, s.numbered(i).request(), due)
				sample.Number = s.First + i
			}
			sample.Start = due.Sub(start)
		})
	}
	requests.Wait()
	return samples, nil
}

func (s Stream) openRequest(ctx context.Context, lines *pool, request []byte, due time.Time) Sample {
	line := lines.take()
	sample := Sample{Late: time.Since(due)}
	got, err := line.ask(ctx, request, due.Add(s.Timeout))
	sample.Took = time.Since(due)
	if err == nil {
		sample.Status = got.status
	}
	lines.put(line)
	return sample
}

// pool keeps idle connections, as the many clients of an open loop would:
// the most recently used one comes first.
type pool struct {
	addr   string
	buffer int // of a connection

	mu    sync.Mutex
	lines []*lineTo // guarded by mu
}

func (p *pool) take() *lineTo {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.lines) - 1
	if last < 0 {
		return &lineTo{addr: p.addr, buffer: p.buffer}
	}
	line := p.lines[last]
	p.lines = p.lines[:last]
	return line
}

func (p *pool) put(line *lineTo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		line.hangUp()
	}
}
