package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/examples/gpu/modelserver"
)

// The requests of the scene: the greedy user sends all of its requests at once, the modest
// one sends the next request when it has the last answer.
const (
	greedy, greedyRequests = "anna", 20
	modest, modestRequests = "ben", 5
	tokens                 = 50 // of each answer
)

// scene sends the requests of one greedy user and of one modest user.
type scene struct {
	base   string
	client *http.Client
}

func newScene(base string) *scene {
	return &scene{base, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: greedyRequests}}}
}

// result is what a user got.
type result struct {
	mu     sync.Mutex
	served int             // guarded by mu
	waits  []time.Duration // for the first event of an answer, guarded by mu
	errors []error         // guarded by mu
}

// play sends the requests, and prints the results of both users.
func (s *scene) play(ctx context.Context, out io.Writer, gpu *modelserver.GPU) error {
	defer s.client.CloseIdleConnections()
	fmt.Fprintf(out, "%s sends %d requests at once, %s %d one after the other, of %d tokens each\n\n",
		greedy, greedyRequests, modest, modestRequests, tokens)
	var many, few result
	var all sync.WaitGroup
	for range greedyRequests {
		all.Go(func() { s.ask(ctx, greedy, &many) })
	}
	all.Go(func() {
		for range modestRequests {
			s.ask(ctx, modest, &few)
		}
	})
	all.Wait()
	if ctx.Err() != nil {
		return nil
	}
	fmt.Fprintf(out, "%-8s%10s%10s%20s%20s\n", "", "served", "failed", "median wait", "longest wait")
	many.print(out, greedy)
	few.print(out, modest)
	stats := gpu.Stats()
	fmt.Fprintf(out, "\nat once in the server: at most %d of %d; rejected by it: %d\n", stats.MostRunning, stats.Parallel, stats.Overloads)
	return nil
}

// ask sends one request of a user and reads its stream.
func (s *scene) ask(ctx context.Context, user string, r *result) {
	began := time.Now()
	wait, err := s.stream(ctx, user, began)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.errors = append(r.errors, err)
		return
	}
	r.served++
	r.waits = append(r.waits, wait)
}

func (s *scene) stream(ctx context.Context, user string, began time.Time) (wait time.Duration, err error) {
	res, err := s.send(ctx, call{user: user, model: "small", stream: true, tokens: tokens})
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", res.StatusCode)
	}
	lines, last := bufio.NewScanner(res.Body), ""
	for lines.Scan() {
		if wait == 0 {
			wait = time.Since(began)
		}
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	if lines.Err() == nil && last != "data: [DONE]" {
		return 0, fmt.Errorf("the stream ends with %q", last)
	}
	return wait, lines.Err()
}

// call is one request of a user.
type call struct {
	user, model string
	class       string // as in the field X-Class
	stream      bool
	tokens      int
}

// send sends a request with a user's API key.
func (s *scene) send(ctx context.Context, c call) (*http.Response, error) {
	body, err := json.Marshal(map[string]any{
		"model": c.model, "stream": c.stream, "max_tokens": c.tokens,
		"messages": []any{map[string]any{"role": "user", "content": "hello"}},
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/"+c.model+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer key-"+c.user)
	if c.class != "" {
		req.Header.Set("X-Class", c.class)
	}
	return s.client.Do(req)
}

func (r *result) print(out io.Writer, user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var median, longest time.Duration
	if len(r.waits) > 0 {
		slices.Sort(r.waits)
		median, longest = r.waits[len(r.waits)/2], r.waits[len(r.waits)-1]
	}
	fmt.Fprintf(out, "%-8s%10d%10d%20s%20s\n", user, r.served, len(r.errors),
		median.Round(time.Millisecond), longest.Round(time.Millisecond))
	for _, err := range r.errors {
		fmt.Fprintf(out, "        %v\n", err)
	}
}
