package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

// index is the summary of a report: by agent and case, how it behaved and closed.
type index map[string]map[string]struct {
	Behavior      string `json:"behavior"`
	BehaviorClose string `json:"behaviorClose"`
}

// good are the results of a case that passed, or that is allowed to differ.
var good = []string{"OK", "NON-STRICT", "INFORMATIONAL"}

// parse reads the summary of a report.
func parse(text []byte) (conformance.Result, error) {
	var all index
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("no summary: %w", err)
	}
	r := make(conformance.Result)
	for _, cases := range all {
		for name, c := range cases {
			var words []string
			for _, word := range []string{c.Behavior, c.BehaviorClose} {
				if !slices.Contains(good, word) {
					words = append(words, strings.ToLower(cmp.Or(word, "nothing")))
				}
			}
			r[name] = strings.Join(words, ", ")
		}
	}
	return r.Whole()
}
