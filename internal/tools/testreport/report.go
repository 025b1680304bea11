package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is a line of `go test -json`, with the fields needed here.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build's output, in place of Package
	Test       string
	Output     string
	Elapsed    float64
}

// status of a test; of several runs the highest counts.
type status int

const (
	passed status = iota + 1
	skipped
	failed
)

// testID names a test; without Name it is its package.
type testID struct{ Package, Name string }

// String is the form of the allow list.
func (id testID) String() string {
	if id.Name == "" {
		return id.Package
	}
	return id.Package + "/" + id.Name
}

// report collects events.
type report struct {
	allowed map[string]bool
	out     io.Writer
	tests   map[testID]status
	// failedPackages failed without a test of theirs to blame, or did not end.
	failedPackages map[string]bool
	running        map[string]bool
	// output is kept until its test or package has ended well.
	output map[testID][]string
	builds map[string][]string
}

func newReport(allowed map[string]bool, out io.Writer) *report {
	return &report{
		allowed:        allowed,
		out:            out,
		tests:          make(map[testID]status),
		failedPackages: make(map[string]bool),
		running:        make(map[string]bool),
		output:         make(map[testID][]string),
		builds:         make(map[string][]string),
	}
}

// read takes the events of one whole run.
func (r *report) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.take(line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
	for name := range r.running {
		r.printf("FAIL\t%s\tdid not end\n", name)
		r.print(testID{Package: name})
		r.failedPackages[name] = true
	}
	clear(r.running)
	return nil
}

// take handles one line. What is no event comes from the go command itself.
func (r *report) take(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		r.printf("%s", line)
		return
	}
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "start":
		r.running[e.Package] = true
	case "output":
		r.output[id] = append(r.output[id], e.Output)
	case "build-output":
		r.builds[e.ImportPath] = append(r.builds[e.ImportPath], e.Output)
	case "build-fail":
		r.printf("%s", strings.Join(r.builds[e.ImportPath], ""))
	case "pass", "fail", "skip":
		r.end(id, e)
	}
}

// end notes the result of a test or of a package.
func (r *report) end(id testID, e event) {
	if id.Name == "" {
		r.endPackage(id, e)
		return
	}
	result := map[string]status{"pass": passed, "skip": skipped, "fail": failed}[e.Action]
	if result == failed || result == skipped && !r.allowed[id.String()] {
		r.print(id)
	}
	r.tests[id] = max(r.tests[id], result)
	delete(r.output, id)
}

// endPackage prints a line as `go test` does. For a package, skip means that it
// has no tests.
func (r *report) endPackage(id testID, e event) {
	delete(r.running, id.Package)
	switch e.Action {
	case "pass":
		r.printf("ok  \t%s\t%.3fs\n", id.Package, e.Elapsed)
	case "fail":
		if !r.blamed(id.Package) {
			r.failedPackages[id.Package] = true
			r.print(id)
		}
		r.printf("FAIL\t%s\t%.3fs\n", id.Package, e.Elapsed)
	}
	delete(r.output, id)
}

// blamed reports whether a test of the package has failed.
func (r *report) blamed(name string) bool {
	for id, result := range r.tests {
		if id.Package == name && result == failed {
			return true
		}
	}
	return false
}

// print shows the kept output of a test or package.
func (r *report) print(id testID) {
	r.printf("%s", strings.Join(r.output[id], ""))
}

// printf writes for the reader; if nobody can read it, the exit code still
// tells the result.
func (r *report) printf(format string, args ...any) {
	fmt.Fprintf(r.out, format, args...)
}

// sum counts the tests and lists those that need a word.
func (r *report) sum() summary {
	var s summary
	for id, result := range r.tests {
		switch {
		case result == failed:
			s.failed = append(s.failed, id.String())
		case result == passed:
			s.passed++
		case r.allowed[id.String()]:
			s.allowed++
		default:
			s.skipped = append(s.skipped, id.String())
		}
	}
	for name := range r.failedPackages {
		s.failed = append(s.failed, name)
	}
	slices.Sort(s.failed)
	slices.Sort(s.skipped)
	return s
}
