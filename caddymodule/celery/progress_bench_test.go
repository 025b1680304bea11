package celery_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	celeryhandler "github.com/caddy-offload/caddy-offload/caddymodule/celery"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// The time from a reported progress to the client, with servers in memory and Caddy in between:
// the median, the 99th percentile and the maximum. Repeat with
//
//	go test -run '^$' -bench Progress -benchtime 2000x ./caddymodule/celery
func BenchmarkProgress(b *testing.B) {
	memory := celerytest.NewMemory()
	celeryhandler.RegisterServer("progress", func(string) (celeryhandler.Server, error) { return memory, nil })
	const directive = "celery {\nbroker progress://\nbackend progress://\nworker_check off\ntask_check off\ntask lab.slow\ntimeout off\n}\n"
	for name, wrap := range around {
		s := site.Serve(b, nil, wrap(directive))
		clients := s.Clients()
		for _, version := range []string{"h1", "h2", "h3"} {
			b.Run(name+"/"+version, func(b *testing.B) { measureProgress(b, memory, clients[version], "https://"+s.Addr) })
		}
	}
}

func measureProgress(b *testing.B, memory *celerytest.Memory, c *http.Client, url string) {
	b.Helper()
	ctx, leave := context.WithCancel(b.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := c.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	m, err := memory.Take(ctx, "celery")
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	text := bufio.NewScanner(res.Body)
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		if err := memory.Report(ctx, m, celerytest.State(m.CorrelationID, "PROGRESS", fmt.Sprint(i))); err != nil {
			b.Fatal(err)
		}
		for want := fmt.Sprintf(`"meta":%d}`, i); !strings.HasSuffix(text.Text(), want); {
			if !text.Scan() {
				b.Fatalf("the stream has ended: %v", text.Err())
			}
		}
		took = append(took, time.Since(began))
	}
	if err := memory.Report(ctx, m, celerytest.State(m.CorrelationID, celery.Success, "1")); err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	for name, at := range map[string]int{"p50": len(took) / 2, "p99": len(took) * 99 / 100, "max": len(took) - 1} {
		b.ReportMetric(float64(took[at])/float64(time.Millisecond), name+"-ms")
	}
}
