// Command factorial runs the worker of this example alone: a service with one
// event loop and one blocking route.
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

	"github.com/caddy-offload/caddy-offload/examples/factorial/worker"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9001", "address to listen on")
	flag.Parse()
	if err := run(*addr); err != nil {
		log.Fatal(err)
	}
}

// run serves until the process receives a signal to end.
func run(addr string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("starting the factorial worker: %w", err)
	}
	fmt.Printf("factorial worker: try http://%s/factorial/1000 and http://%[1]s/ping\n", ln.Addr())
	return worker.New().Serve(ctx, ln)
}
