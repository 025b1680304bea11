// Command clientpage compares the tables of docs/clients.md with the recording in
// docs/clients.json and with the catalogue of clients. It fails if they differ, or writes
// them.
//
//	go run ./internal/tools/clientpage [-write]
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddy-offload/caddy-offload/internal/clients"
	"github.com/caddy-offload/caddy-offload/internal/repository"
	"github.com/caddy-offload/caddy-offload/internal/tools/tables"
)

func main() {
	write := flag.Bool("write", false, "write the tables instead of comparing them")
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, "clientpage:", err)
		os.Exit(1)
	}
}

var errDiffers = errors.New("the tables of docs/clients.md are not those of docs/clients.json: run go run ./internal/tools/clientpage -write")

func run(write bool) error {
	root, err := repository.Root()
	if err != nil {
		return err
	}
	result, err := clients.Read(filepath.Join(root, "docs", "clients.json"))
	if err != nil {
		return err
	}
	err = tables.Page(filepath.Join(root, "docs", "clients.md"), content(result), write)
	if errors.Is(err, tables.ErrDiffer) {
		return errDiffers
	}
	return err
}
