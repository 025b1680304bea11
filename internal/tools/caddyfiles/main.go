// Command caddyfiles checks every Caddyfile that the project ships with the
// project's own Caddy: the files named Caddyfile or *.caddyfile, and the code
// blocks marked `caddyfile` in Markdown files. Each must be formatted, adapt and
// validate, and validating must leave no temporary file behind.
//
// A block is a whole Caddyfile or the directives of a site. A piece that is
// neither is marked `caddyfile fragment`; then only its format is checked.
//
//	go run ./internal/tools/caddyfiles -caddy bin/caddy [root]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/caddy-offload/caddy-offload/internal/interrupt"
)

func main() {
	binary := flag.String("caddy", "", "the Caddy `binary` to check with")
	flag.Parse()
	root := "."
	if flag.NArg() > 0 {
		root = flag.Arg(0)
	}
	interrupt.Main("caddyfiles", func(ctx context.Context) error { return run(ctx, *binary, root) })
}

// run checks all pieces, so that one run reports all faults.
func run(ctx context.Context, binary, root string) error {
	if binary == "" {
		return errors.New("flag -caddy is missing")
	}
	pieces, err := collect(os.DirFS(root))
	if err != nil {
		return err
	}
	if len(pieces) == 0 {
		return fmt.Errorf("no Caddyfile below %s", root)
	}
	check, err := newChecker(binary, root)
	if err != nil {
		return err
	}
	defer check.close()
	var faults []error
	for _, p := range pieces {
		if err := check.piece(ctx, p); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", p.place(), err))
			continue
		}
		fmt.Printf("ok  \t%s\n", p.place())
	}
	return errors.Join(faults...)
}
