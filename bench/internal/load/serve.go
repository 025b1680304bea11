package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// The kinds of jobs for Serve.
const (
	ServeStreams = "streams" // a Job
	ServeSlices  = "slices"  // a SliceJob
	ServeCrowd   = "crowd"   // a CrowdJob
)

// Serve reads one job of the given kind from in, runs it and writes its result
// to out, both as JSON. It is the main function of a load process.
func Serve(ctx context.Context, kind string, in io.Reader, out io.Writer) error {
	switch kind {
	case ServeStreams:
		return serve(ctx, in, out, Run)
	case ServeSlices:
		return serve(ctx, in, out, RunSlices)
	case ServeCrowd:
		return serve(ctx, in, out, RunCrowd)
	default:
		return fmt.Errorf("unknown kind of load %q", kind)
	}
}

func serve[J, R any](ctx context.Context, in io.Reader, out io.Writer, run func(context.Context, J) (R, error)) error {
	var job J
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("reading job: %w", err)
	}
	result, err := run(ctx, job)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(result); err != nil {
		return fmt.Errorf("writing result: %w", err)
	}
	return nil
}
