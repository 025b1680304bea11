package main

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"strings"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

// suites is the part of a JUnit report that the comparison needs.
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

// parse reads a report of h2spec.
func parse(text []byte) (conformance.Result, error) {
	var s suites
	if err := xml.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("no JUnit report: %w", err)
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
	return r.Whole()
}
