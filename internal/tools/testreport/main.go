// Command testreport evaluates the output of `go test -json`. It prints a line per
// package, the attributes of tests, which are their measurements, and the output
// of failed tests. It fails if a test failed, if a test was skipped that is not on
// the allow list, if a package did not end, or if no test ran: a green run must
// mean that all tests ran.
//
//	go test -json ./... | tee run.json | go run ./internal/tools/testreport
//	go run ./internal/tools/testreport -closing run.json race.json
//
// With file names it prints only the sum. A test in several files counts once, by
// its worst result.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// errNotGreen means that the tests were read and at least one did not pass.
var errNotGreen = errors.New("tests failed, were skipped or did not run")

func main() {
	allow := flag.String("allow", "", "file with the tests that may be skipped, one `package/Test` a line")
	closing := flag.Bool("closing", false, "end with the plain line that CI systems read")
	flag.Parse()
	if err := run(*allow, *closing, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
}

// run reads the files, or the standard input if there are none.
func run(allowFile string, closing bool, files []string) error {
	allowed, err := readAllowed(allowFile)
	if err != nil {
		return err
	}
	results := newReport(allowed, os.Stdout)
	if len(files) == 0 {
		err = results.read(os.Stdin)
	} else {
		results.out = io.Discard
		err = readFiles(results, files)
	}
	if err != nil {
		return err
	}
	sum := results.sum()
	fmt.Println(sum.text(closing))
	if !sum.green() {
		return errNotGreen
	}
	return nil
}

// readFiles reads saved events of several runs into one report.
func readFiles(results *report, files []string) error {
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("open events: %w", err)
		}
		err = results.read(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
