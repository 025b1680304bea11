package main

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

// suites is the part of a JUnit report that matters here.
type suites struct {
	Suites []struct {
		Cases []struct {
			Package string  `xml:"package,attr"`
			Name    string  `xml:"classname,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
			Skipped *string `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// playAll plays all cases against all fronts at once; a front spends most of the
// time waiting for what does not come.
func playAll(ctx context.Context, h2spec string, fronts []front) ([]conformance.Result, error) {
	dir, err := os.MkdirTemp("", "h2compare-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for reports: %w", err)
	}
	defer os.RemoveAll(dir)
	results, errs := make([]conformance.Result, len(fronts)), make([]error, len(fronts))
	var all sync.WaitGroup
	for i, f := range fronts {
		all.Go(func() {
			report := filepath.Join(dir, fmt.Sprintf("%d.xml", i))
			results[i], errs[i] = play(ctx, h2spec, f, report)
		})
	}
	all.Wait()
	return results, errors.Join(errs...)
}

// play runs h2spec, the strict cases included, against one front.
func play(ctx context.Context, h2spec string, f front, report string) (conformance.Result, error) {
	host, port, err := net.SplitHostPort(f.addr)
	if err != nil {
		return nil, fmt.Errorf("address of %s: %w", f.name, err)
	}
	args := []string{"--strict", "--host", host, "--port", port, "--junit-report", report}
	if f.tls {
		args = append(args, "--tls", "--insecure")
	}
	// That cases fail is told by the exit code too, and better by the report.
	out, failed := exec.CommandContext(ctx, h2spec, args...).CombinedOutput()
	text, err := os.ReadFile(report)
	if err != nil {
		return nil, fmt.Errorf("%s: no report (%w, %w): %s", f.name, err, cmp.Or(failed, errors.New("h2spec ended well")), out)
	}
	r, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return r, nil
}

// parse reads a report. One without a case is an error: nothing was compared.
func parse(text []byte) (conformance.Result, error) {
	var s suites
	if err := xml.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("report of h2spec: %w", err)
	}
	r := make(conformance.Result)
	for _, suite := range s.Suites {
		for _, c := range suite.Cases {
			reason := ""
			for _, text := range []*string{c.Failure, c.Error, c.Skipped} {
				if text != nil {
					reason = cmp.Or(strings.Join(strings.Fields(*text), " "), "failed")
				}
			}
			r[c.Package+": "+c.Name] = reason
		}
	}
	if len(r) == 0 {
		return nil, errors.New("report of h2spec: no cases in it")
	}
	return r, nil
}
