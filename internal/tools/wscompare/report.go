package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

// index is the summary of a report: by agent and case, how it behaved and closed.
type index map[string]map[string]struct {
	Behavior      string `json:"behavior"`
	BehaviorClose string `json:"behaviorClose"`
}

// left are the groups of cases that measure speed, and those of compression, which
// are many and large.
var left = []string{"9.*", "12.*", "13.*"}

// good are the words for a case that went as it should, or as it may.
var good = []string{"OK", "NON-STRICT", "INFORMATIONAL"}

// playAll plays all cases against all fronts at once; a front spends most of the
// time waiting for what does not come.
func playAll(ctx context.Context, kosoku string, fronts []front) ([]conformance.Result, error) {
	dir, err := os.MkdirTemp("", "wscompare-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for reports: %w", err)
	}
	defer os.RemoveAll(dir)
	results, errs := make([]conformance.Result, len(fronts)), make([]error, len(fronts))
	var all sync.WaitGroup
	for i, f := range fronts {
		all.Go(func() {
			results[i], errs[i] = play(ctx, kosoku, f, filepath.Join(dir, fmt.Sprint(i)))
		})
	}
	all.Wait()
	return results, errors.Join(errs...)
}

// play runs the cases against one front, a few at a time.
func play(ctx context.Context, kosoku string, f front, dir string) (conformance.Result, error) {
	args := []string{f.addr, "--outdir", dir, "--parallelism", "4"}
	for _, group := range left {
		args = append(args, "--exclude", group)
	}
	// That cases fail may be told by the exit code too, and better by the report.
	out, failed := exec.CommandContext(ctx, kosoku, args...).CombinedOutput()
	text, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, fmt.Errorf("%s: no report (%w, %w): %s", f.name, err, cmp.Or(failed, errors.New("it ended well")), out)
	}
	r, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	return r, nil
}

// parse reads the summary of a report. One without a case is an error: nothing was
// compared.
func parse(text []byte) (conformance.Result, error) {
	var all index
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("report of the cases: %w", err)
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
	if len(r) == 0 {
		return nil, errors.New("report of the cases: none in it")
	}
	return r, nil
}
