// Command backendpage compares the tables of docs/backends.md with the measurements in
// docs/backends.json and with the values of --backend. It fails if they differ, or
// writes them.
//
//	go run ./internal/tools/backendpage [-write]
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddy-offload/caddy-offload/internal/backends/measured"
	"github.com/caddy-offload/caddy-offload/internal/repository"
	"github.com/caddy-offload/caddy-offload/internal/tools/tables"
)

func main() {
	write := flag.Bool("write", false, "write the tables instead of comparing them")
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, "backendpage:", err)
		os.Exit(1)
	}
}

var errDiffers = errors.New("the tables of docs/backends.md are not those of docs/backends.json: run go run ./internal/tools/backendpage -write")

func run(write bool) error {
	root, err := repository.Root()
	if err != nil {
		return err
	}
	result, err := measured.Read(filepath.Join(root, "docs", "backends.json"))
	if err != nil {
		return err
	}
	err = tables.Page(filepath.Join(root, "docs", "backends.md"), content(result), write)
	if errors.Is(err, tables.ErrDiffer) {
		return errDiffers
	}
	return err
}
