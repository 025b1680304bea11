package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// playAll runs all cases against all fronts at the same time; a front spends most
// of the time on frames that do not arrive.
func (s Suite) playAll(ctx context.Context, program string) ([]Result, error) {
	results, errs := make([]Result, len(s.Fronts)), make([]error, len(s.Fronts))
	var all sync.WaitGroup
	for i, f := range s.Fronts {
		all.Go(func() {
			if results[i], errs[i] = s.play(ctx, program, f); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", f.Name, errs[i])
			}
		})
	}
	all.Wait()
	return results, errors.Join(errs...)
}

func (s Suite) play(ctx context.Context, program string, f Front) (Result, error) {
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the report: %w", err)
	}
	defer os.RemoveAll(dir)
	args, report := s.Arguments(f, dir)
	// The exit code may also report failed cases, but the report has the details.
	out, failed := exec.CommandContext(ctx, program, args...).CombinedOutput()
	text, err := os.ReadFile(report)
	if err != nil {
		return nil, fmt.Errorf("no report (%w, %w): %s", err, cmp.Or(failed, errors.New("the program ended well")), out)
	}
	r, err := s.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return r, nil
}
