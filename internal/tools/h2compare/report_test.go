package main

import "testing"

const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="Preface" package="http2/3.5" tests="2">
    <testcase package="http2/3.5" classname="Sends a preface" time="0.1"></testcase>
    <testcase package="http2/3.5" classname="Sends nonsense" time="0.1">
      <error>Connection closed
DATA frame</error>
    </testcase>
  </testsuite>
  <testsuite name="Data" package="http2/6.1" tests="3">
    <testcase package="http2/6.1" classname="Sends data"><failure></failure></testcase>
    <testcase package="http2/6.1" classname="Sends padding"><skipped></skipped></testcase>
    <testcase package="http2/6.1" classname="Sends nonsense"></testcase>
  </testsuite>
</testsuites>`

func TestReportsAreReadByCase(t *testing.T) {
	t.Parallel()
	r, err := parse([]byte(report))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"http2/3.5: Sends a preface": "",
		"http2/3.5: Sends nonsense":  "Connection closed DATA frame",
		"http2/6.1: Sends data":      "failed",
		"http2/6.1: Sends padding":   "failed",
		"http2/6.1: Sends nonsense":  "",
		"http2/9.9: Sends no case":   "not played",
	} {
		if got := r.Reason(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := r.Passed(); got != 2 {
		t.Errorf("%d passed, want 2", got)
	}
}

func TestReportsWithoutCasesAreErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "no XML", "<testsuites></testsuites>"} {
		if _, err := parse([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

// Each front is compared with the plain one that uses the same protocol.
func TestPlan(t *testing.T) {
	t.Parallel()
	fronts := suite().Fronts
	for _, f := range fronts {
		if plain := fronts[f.Plain]; plain.TLS != f.TLS || plain.Offload != "" {
			t.Errorf("%s is compared with %s", f.Name, plain.Name)
		}
	}
}
