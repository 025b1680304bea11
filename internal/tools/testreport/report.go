package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is a line of `go test -json`, with the fields that this command uses.
type event struct {
	Action     string
	Package    string
	ImportPath string // for the output of a build, instead of Package
	Test       string
	Output     string
	Key, Value string // of an attribute
	Elapsed    float64
}

// status of a test; of several runs the highest counts.
type status int

const (
	passed status = iota + 1
	skipped
	failed
)

// testID names a test; without Name it is the package of tests.
type testID struct{ Package, Name string }

// String returns the form that the allow list uses.
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
	// failedPackages failed without a failed test, or did not end.
	failedPackages map[string]bool
	// running are the packages and tests that have begun and not ended.
	running map[testID]bool
	// dying are the packages whose process has begun to panic.
	dying map[string]bool
	// output is kept until its test or package has passed.
	output map[testID][]string
	// last has the end of the output of each failed test and package, by its name.
	last   map[string][]string
	builds map[string][]string
}

// lastLines is how much of a failed test's output a summary repeats: a CI system may show
// the end of a run alone.
const lastLines = 15

func newReport(allowed map[string]bool, out io.Writer) *report {
	return &report{
		allowed:        allowed,
		out:            out,
		tests:          make(map[testID]status),
		failedPackages: make(map[string]bool),
		running:        make(map[testID]bool),
		dying:          make(map[string]bool),
		output:         make(map[testID][]string),
		last:           make(map[string][]string),
		builds:         make(map[string][]string),
	}
}

// read reads the events of one whole run.
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
	for id := range r.running {
		if id.Name == "" {
			r.end(id, event{Action: "fail", Output: "did not end"})
		}
	}
	return nil
}

// take handles one line. A line that is not an event comes from the go command
// itself.
func (r *report) take(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		r.printf("%s", line)
		return
	}
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "start", "run":
		r.running[id] = true
	case "output":
		r.keep(id, e.Output)
	case "attr": // a measurement of a test
		r.printf("%s: %s: %s\n", e.Test, e.Key, e.Value)
	case "build-output":
		r.builds[e.ImportPath] = append(r.builds[e.ImportPath], e.Output)
	case "build-fail":
		r.printf("%s", strings.Join(r.builds[e.ImportPath], ""))
	case "pass", "fail", "skip":
		r.end(id, e)
	}
}

// keep stores output until the result of its test is known. Go attributes the last output
// of a process that panics to the test that printed last, even if that test had passed.
// keep attributes this output to the package.
func (r *report) keep(id testID, output string) {
	if strings.HasPrefix(output, "panic: ") || strings.HasPrefix(output, "fatal error: ") {
		r.dying[id.Package] = true
	}
	if r.dying[id.Package] {
		id.Name = ""
	}
	r.output[id] = append(r.output[id], output)
}

// end records the result of a test or of a package.
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
	r.forget(id)
}

// forget drops the state of a test or package that ended.
func (r *report) forget(id testID) {
	delete(r.running, id)
	delete(r.output, id)
}

// endPackage prints a line as `go test` does. For a package, skip means that it
// has no tests.
func (r *report) endPackage(id testID, e event) {
	switch e.Action {
	case "pass":
		r.printf("ok  \t%s\t%.3fs\n", id.Package, e.Elapsed)
	case "fail":
		r.endTests(id.Package)
		blamed := r.blamed(id.Package)
		if !blamed {
			r.failedPackages[id.Package] = true
		}
		if !blamed || r.dying[id.Package] {
			r.print(id)
		}
		r.printf("FAIL\t%s\t%s\n", id.Package, cmp.Or(e.Output, fmt.Sprintf("%.3fs", e.Elapsed)))
	}
	r.forget(id)
}

// endTests fails the tests that were running when their package failed: one of
// them panicked or hung, and the go command does not end them.
func (r *report) endTests(name string) {
	var open []testID
	for id := range r.running {
		if id.Package == name && id.Name != "" {
			open = append(open, id)
		}
	}
	slices.SortFunc(open, func(a, b testID) int { return strings.Compare(a.Name, b.Name) })
	for _, id := range open {
		r.end(id, event{Action: "fail"})
	}
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

// print prints the kept output of a test or package, without the lines that only
// report progress.
func (r *report) print(id testID) {
	var lines []string
	for _, line := range r.output[id] {
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "FAIL") {
			r.printf("%s", line)
			lines = append(lines, line)
		}
	}
	r.last[id.String()] = lines[max(0, len(lines)-lastLines):]
}

// printf writes the report. It ignores errors: the exit code has the result as
// well.
func (r *report) printf(format string, args ...any) {
	fmt.Fprintf(r.out, format, args...)
}

// sum counts the tests and lists those that were skipped or failed.
func (r *report) sum() summary {
	s := summary{last: r.last}
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
