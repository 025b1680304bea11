package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// All kinds of requests are sent, in the intended shares.
func TestTraffic(t *testing.T) {
	t.Parallel()
	shares := map[string]int{}
	for place := range 100 {
		shares[pick(place).path]++
	}
	for _, k := range kinds {
		if shares[k.path] != k.share {
			t.Errorf("%s has a share of %d, want %d", k.path, shares[k.path], k.share)
		}
	}
	var mu sync.Mutex
	seen := map[string]int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.URL.RequestURI()] = r.ContentLength
		w.Write(make([]byte, 2*slowPiece))
	}))
	defer s.Close()
	traffic := newTraffic(s.URL)
	for _, k := range kinds {
		traffic.send(t.Context(), k)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 3*tick)
	defer cancel()
	traffic.run(ctx)
	mu.Lock() // a request of a client that has left may still be on its way
	defer mu.Unlock()
	for _, k := range kinds {
		if body, ok := seen[k.path]; !ok || body != int64(k.body) {
			t.Errorf("%s was sent with %d bytes (%v), want %d", k.path, body, ok, k.body)
		}
	}
	if took := time.Since(began); took < 3*tick {
		t.Errorf("ended after %s", took)
	}
}
