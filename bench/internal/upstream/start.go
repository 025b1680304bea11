package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
)

// Upstream is a started upstream process.
type Upstream struct {
	Ready

	process *exec.Cmd
	input   io.WriteCloser // its end ends the process
}

// Start starts an upstream with the command, which must end in a call of
// Serve.
func Start(ctx context.Context, command []string, config Config) (*Upstream, error) {
	u := &Upstream{process: exec.CommandContext(ctx, command[0], command[1:]...)}
	u.process.Stderr = os.Stderr
	output, err := u.process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("preparing upstream: %w", err)
	}
	if u.input, err = u.process.StdinPipe(); err != nil {
		return nil, fmt.Errorf("preparing upstream: %w", err)
	}
	if err := u.process.Start(); err != nil {
		return nil, fmt.Errorf("starting upstream: %w", err)
	}
	err = json.NewEncoder(u.input).Encode(config)
	if err == nil {
		err = json.NewDecoder(output).Decode(&u.Ready)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("configuring upstream: %w", err), u.Stop())
	}
	return u, nil
}

// Stats returns the upstream's counters.
func (u *Upstream) Stats(ctx context.Context) (Stats, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+u.Control, http.NoBody)
	if err != nil {
		return Stats{}, fmt.Errorf("asking upstream: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return Stats{}, fmt.Errorf("asking upstream: %w", err)
	}
	var stats Stats
	err = json.NewDecoder(response.Body).Decode(&stats)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return Stats{}, fmt.Errorf("asking upstream: %w", err)
	}
	return stats, nil
}

// Stop ends the process and waits for it.
func (u *Upstream) Stop() error {
	err := u.input.Close()
	if err = errors.Join(err, u.process.Wait()); err != nil {
		return fmt.Errorf("stopping upstream: %w", err)
	}
	return nil
}
