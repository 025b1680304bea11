// Command slowupstream runs the upstream of this example alone: a slow service
// with a fixed number of synchronous workers.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/caddy-offload/caddy-offload/examples/slowupstream/upstream"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9002", "address to listen on")
	workers := flag.Int("workers", 10, "number of synchronous workers")
	flag.Parse()
	if err := run(*addr, *workers); err != nil {
		log.Fatal(err)
	}
}

// run serves until the process receives a signal to end.
func run(addr string, workers int) error {
	if workers < 1 {
		return fmt.Errorf("cannot work with %d workers", workers)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("starting the slow upstream: %w", err)
	}
	fmt.Printf("slow upstream, %d workers: try http://%s/report?delay=2s, http://%[2]s/ping and http://%[2]s/stats\n",
		workers, ln.Addr())
	return upstream.New(upstream.Options{Workers: workers}).Serve(ctx, ln)
}
