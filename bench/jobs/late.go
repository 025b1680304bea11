package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
)

// resultSize is the size of the result that is read late.
const resultSize = 100 << 20

// lateReads compares the read of the result of an ended job with that of a file.
func (b *bench) lateReads(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	upstream, err := serve(ctx, http.HandlerFunc(answer))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.folder, "file"), make([]byte, resultSize), 0o600); err != nil {
		return fmt.Errorf("writing a file: %w", err)
	}
	c, err := b.start(ctx, upstream)
	if err != nil {
		return err
	}
	result, err := submitBig(ctx, "http://"+c.addrs["jobs"])
	if err != nil {
		return errors.Join(err, c.stop())
	}
	var late, files []float64
	for range b.rounds {
		for url, speeds := range map[string]*[]float64{result: &late, "http://" + c.addrs["files"] + "/file": &files} {
			speed, err := read(ctx, url)
			if err != nil {
				return errors.Join(err, c.stop())
			}
			*speeds = append(*speeds, speed)
		}
	}
	b.printf("\nLate read of a result of 100 MiB: %.0f MiB/s, of a file by file_server: %.0f MiB/s.\n\n", stat.Median(late), stat.Median(files))
	ratio := stat.Median(stat.Ratios(late, files))
	b.aim("late read, to file_server", ratio, ">= 0.90", ratio >= 0.9)
	return c.stop()
}

// submitBig submits a job with a large result, waits for its end, and returns the address of
// its result.
func submitBig(ctx context.Context, base string) (string, error) {
	location, err := submit(ctx, base, fmt.Sprintf("/big?%d", resultSize))
	if err != nil {
		return "", err
	}
	for {
		res, err := ask(ctx, http.MethodHead, location+"/result", "")
		if err != nil {
			return "", err
		}
		if err := res.Body.Close(); err != nil {
			return "", fmt.Errorf("waiting for the job: %w", err)
		}
		switch {
		case res.StatusCode >= http.StatusBadRequest:
			return "", fmt.Errorf("waiting for the job: %s/result has status %d", location, res.StatusCode)
		case res.StatusCode == http.StatusOK && res.ContentLength == resultSize:
			return location + "/result", nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for the job: %w", ctx.Err())
		}
	}
}

// submit submits a job, and returns its address.
func submit(ctx context.Context, base, path string) (string, error) {
	res, err := ask(ctx, http.MethodPost, base+path, "respond-async, wait=0")
	if err != nil {
		return "", err
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("submitting a job: status %d, %w", res.StatusCode, err)
	}
	return base + res.Header.Get("Location"), nil
}

func ask(ctx context.Context, method, url, prefer string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	if prefer != "" {
		r.Header.Set("Prefer", prefer)
	}
	return http.DefaultClient.Do(r)
}

// read returns the speed of a response in MiB a second.
func read(ctx context.Context, url string) (float64, error) {
	began := time.Now()
	res, err := ask(ctx, http.MethodGet, url, "")
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || n != resultSize {
		return 0, fmt.Errorf("reading %s: %d bytes, %w", url, n, err)
	}
	return float64(n) / (1 << 20) / time.Since(began).Seconds(), nil
}
