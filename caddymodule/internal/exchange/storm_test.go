package exchange_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
)

// Runs that leave, close and read at any moment get the cause or the right bytes, and
// each exchange ends once.
func TestStormOfLeavingRuns(t *testing.T) {
	eachVersion(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 10 {
			w.Write(pattern(20_000))
			if i%3 == 0 {
				http.NewResponseController(w).Flush()
			}
		}
	}, func(t *testing.T, b backend) {
		var storm sync.WaitGroup
		for seed := range 8 {
			storm.Go(func() {
				random := rand.New(rand.NewPCG(uint64(seed), 1))
				for range 25 {
					o := newOwner()
					o.outlasts = random.IntN(2) == 0
					x := make(chan struct{})
					go func() {
						defer close(x)
						for range random.IntN(2000) {
							runtime.Gosched()
						}
						if x := <-o.began; seed%4 != 0 {
							x.Leave(errLeft)
						}
					}()
					res, err := exchange.RoundTrip(b, o.of(request(t, "GET", b.url)), o)
					if err == nil {
						var n int64
						if n, err = io.CopyN(io.Discard, res.Body, int64(seed)*40_000); err == nil && seed > 5 {
							t.Errorf("read %d", n)
						}
						res.Body.Close()
					}
					if err != nil && !errors.Is(err, errLeft) && (!errors.Is(err, io.EOF) || seed < 6) {
						t.Errorf("got %v", err)
					}
					<-x
					<-o.ended
					if o.ends.Load() != 1 {
						t.Error("ended more than once")
					}
				}
			})
		}
		storm.Wait()
	})
}
