package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// line returns an event as `go test -json` writes it.
func line(action, pkg, test, output string) string {
	return fmt.Sprintf("{\"Action\":%q,\"Package\":%q,\"Test\":%q,\"Output\":%q}\n", action, pkg, test, output)
}

// read reads the events of one run and returns the report and its output.
func read(t *testing.T, allowed map[string]bool, events ...string) (*report, string) {
	t.Helper()
	var out strings.Builder
	r := newReport(allowed, &out)
	if err := r.read(strings.NewReader(strings.Join(events, ""))); err != nil {
		t.Fatal(err)
	}
	return r, out.String()
}

func TestPassedRunIsGreen(t *testing.T) {
	t.Parallel()
	r, out := read(
		t, nil,
		line("start", "a", "", ""),
		line("run", "a", "TestOne", ""),
		line("output", "a", "TestOne", "chatter\n"),
		line("pass", "a", "TestOne/sub", ""),
		line("pass", "a", "TestOne", ""),
		line("pass", "a", "", ""),
		line("start", "empty", "", ""),
		line("output", "empty", "", "? empty [no test files]\n"),
		line("skip", "empty", "", ""),
	)
	sum := r.sum()
	if !sum.green() || sum.passed != 2 {
		t.Errorf("sum is %+v", sum)
	}
	if want := "ok  \ta\t0.000s\n"; out != want {
		t.Errorf("output is %q, want %q", out, want)
	}
	if got := sum.text(true); got != "2 passed, 0 failed, 0 skipped" {
		t.Errorf("closing line is %q", got)
	}
	if got := sum.text(false); got != "tests: 2, of these failed: 0, skipped: 0" {
		t.Errorf("text is %q", got)
	}
}

func TestWhatTestsHaveMeasuredIsShown(t *testing.T) {
	t.Parallel()
	_, out := read(
		t, nil,
		line("start", "a", "", ""),
		`{"Action":"attr","Package":"a","Test":"TestOne","Key":"memory","Value":"3 MiB"}`+"\n",
		line("pass", "a", "TestOne", ""),
		line("pass", "a", "", ""),
	)
	if want := "TestOne: memory: 3 MiB\nok  \ta\t0.000s\n"; out != want {
		t.Errorf("output is %q, want %q", out, want)
	}
}

func TestFailedTestShowsItsOutput(t *testing.T) {
	t.Parallel()
	r, out := read(
		t, nil,
		line("start", "a", "", ""),
		line("pass", "a", "TestGood", ""),
		line("output", "a", "TestBad", "a_test.go:7: wrong\n"),
		line("fail", "a", "TestBad", ""),
		line("output", "a", "", "FAIL\n"),
		line("fail", "a", "", ""),
	)
	sum := r.sum()
	if sum.green() || !slices.Equal(sum.failed, []string{"a/TestBad"}) {
		t.Errorf("sum is %+v", sum)
	}
	if want := "a_test.go:7: wrong\nFAIL\ta\t0.000s\n"; out != want {
		t.Errorf("output is %q, want %q", out, want)
	}
	if got := sum.text(true); got != "failed: a/TestBad\n\ta_test.go:7: wrong\n1 passed, 1 failed, 0 skipped" {
		t.Errorf("closing line is %q", got)
	}
}

func TestSkippedTestIsNotGreen(t *testing.T) {
	t.Parallel()
	events := []string{
		line("start", "a", "", ""),
		line("pass", "a", "TestGood", ""),
		line("output", "a", "TestSkip", "a_test.go:3: no time\n"),
		line("skip", "a", "TestSkip", ""),
		line("pass", "a", "", ""),
	}
	r, out := read(t, nil, events...)
	if sum := r.sum(); sum.green() || !slices.Equal(sum.skipped, []string{"a/TestSkip"}) {
		t.Errorf("sum is %+v", sum)
	}
	if !strings.Contains(out, "no time") {
		t.Errorf("output %q does not say why", out)
	}

	r, _ = read(t, map[string]bool{"a/TestSkip": true}, events...)
	if got := r.sum().text(true); got != "1 passed, 0 failed, 1 skipped" {
		t.Errorf("closing line with leave is %q", got)
	}
	if !r.sum().green() {
		t.Error("a skip with leave is not green")
	}
}

func TestFailuresWithoutATest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		events []string
		want   string
	}{
		"build": {[]string{
			`{"ImportPath":"a","Action":"build-output","Output":"a.go:1: undefined: x\n"}` + "\n",
			`{"ImportPath":"a","Action":"build-fail"}` + "\n",
			line("start", "a", "", ""),
			line("fail", "a", "", ""),
		}, "a.go:1: undefined: x\nFAIL\ta\t0.000s\n"},
		"test main": {[]string{
			line("start", "a", "", ""),
			line("output", "a", "", "leak found\n"),
			line("fail", "a", "", ""),
		}, "leak found\nFAIL\ta\t0.000s\n"},
		"killed": {[]string{
			line("start", "a", "", ""),
			line("output", "a", "", "last words\n"),
		}, "last words\nFAIL\ta\tdid not end\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events := append([]string{line("pass", "b", "TestGood", "")}, test.events...)
			r, out := read(t, nil, events...)
			if sum := r.sum(); sum.green() || !slices.Equal(sum.failed, []string{"a"}) {
				t.Errorf("sum is %+v", sum)
			}
			if out != test.want {
				t.Errorf("output is %q, want %q", out, test.want)
			}
		})
	}
}

func TestHangingTestIsBlamed(t *testing.T) {
	t.Parallel()
	r, out := read(
		t, nil,
		line("start", "a", "", ""),
		line("run", "a", "TestHangs", ""),
		line("output", "a", "TestHangs", "=== RUN   TestHangs\n"),
		line("run", "a", "TestGood", ""),
		line("output", "a", "TestHangs", "log\n"),
		line("output", "a", "TestGood", "--- PASS: TestGood\n"),
		line("output", "a", "TestGood", "panic: test timed out\n"),
		line("output", "a", "TestGood", "stack\n"),
		line("pass", "a", "TestGood", ""),
		line("output", "a", "", "FAIL\ta\t1s\n"),
		line("fail", "a", "", ""),
	)
	if sum := r.sum(); sum.passed != 1 || !slices.Equal(sum.failed, []string{"a/TestHangs"}) {
		t.Errorf("sum is %+v", sum)
	}
	if want := "log\npanic: test timed out\nstack\nFAIL\ta\t0.000s\n"; out != want {
		t.Errorf("output is %q, want %q", out, want)
	}
}

func TestWorstResultOfSeveralRunsCounts(t *testing.T) {
	t.Parallel()
	r, _ := read(
		t, nil,
		line("fail", "a", "TestFlaky", ""), line("pass", "a", "TestFlaky", ""),
		line("skip", "a", "TestSlow", ""), line("pass", "a", "TestSlow", ""),
		line("pass", "a", "TestGood", ""), line("pass", "a", "TestGood", ""),
	)
	want := "failed: a/TestFlaky\nskipped without leave: a/TestSlow\n1 passed, 1 failed, 1 skipped"
	if got := r.sum().text(true); got != want {
		t.Errorf("sum is %q, want %q", got, want)
	}
}

func TestNoTestAtAllIsNotGreen(t *testing.T) {
	t.Parallel()
	r, _ := read(t, nil, line("start", "a", "", ""), line("skip", "a", "", ""))
	if r.sum().green() {
		t.Error("a run without tests is green")
	}
}

func TestOtherLinesArePassedOn(t *testing.T) {
	t.Parallel()
	_, out := read(t, nil, "go: downloading example.com/m v1.0.0\n")
	if out != "go: downloading example.com/m v1.0.0\n" {
		t.Errorf("output is %q", out)
	}
}

func TestBrokenInputIsAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	if err := newReport(nil, new(strings.Builder)).read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

func TestAllowListNeedsReasons(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "skips.txt")
	write := func(content string) {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	write("# comment\n\na/TestOne # needs root\n")
	allowed, err := readAllowed(name)
	if err != nil || len(allowed) != 1 || !allowed["a/TestOne"] {
		t.Errorf("allowed are %v, %v", allowed, err)
	}

	write("a/TestOne # needs root\na/TestTwo\n")
	if _, err := readAllowed(name); err == nil || !strings.Contains(err.Error(), ":2: a/TestTwo has no reason") {
		t.Errorf("error is %v", err)
	}

	if _, err := readAllowed(name + ".gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}
