package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/caddy-offload/caddy-offload/bench/internal/journal"
)

// Upstream is a started upstream process.
type Upstream struct {
	Ready

	command []string
	config  Config
	process *exec.Cmd      // nil: it has ended, and may come back
	input   io.WriteCloser // its end ends the process
}

// Start starts an upstream with the command, which must end in a call of
// Serve.
func Start(ctx context.Context, command []string, config Config) (*Upstream, error) {
	u := &Upstream{command: command, config: config}
	if err := u.Return(ctx); err != nil {
		return nil, err
	}
	return u, nil
}

// Return starts the process of an upstream that has ended. One without Config.Addr has
// another address then.
func (u *Upstream) Return(ctx context.Context) error {
	u.process = exec.CommandContext(ctx, u.command[0], u.command[1:]...)
	u.process.Stderr = os.Stderr
	output, err := u.process.StdoutPipe()
	if err != nil {
		return fmt.Errorf("preparing upstream: %w", err)
	}
	if u.input, err = u.process.StdinPipe(); err != nil {
		return fmt.Errorf("preparing upstream: %w", err)
	}
	if err := u.process.Start(); err != nil {
		return fmt.Errorf("starting upstream: %w", err)
	}
	err = json.NewEncoder(u.input).Encode(u.config)
	if err == nil {
		err = json.NewDecoder(output).Decode(&u.Ready)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("configuring upstream: %w", err), u.Stop())
	}
	return nil
}

// Stats returns the upstream's counters.
func (u *Upstream) Stats(ctx context.Context) (Stats, error) {
	var stats Stats
	text, err := u.ask(ctx, "/")
	if err == nil {
		err = json.Unmarshal(text, &stats)
	}
	if err != nil {
		return Stats{}, fmt.Errorf("counters of upstream: %w", err)
	}
	return stats, nil
}

// SetHealth decides whether health checks succeed from now on.
func (u *Upstream) SetHealth(ctx context.Context, well bool) error {
	path := illPath
	if well {
		path = wellPath
	}
	_, err := u.ask(ctx, path)
	return err
}

// ask sends a request to the control server and returns the body of the answer.
func (u *Upstream) ask(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+u.Control+path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking upstream: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking upstream: %w", err)
	}
	text, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, fmt.Errorf("asking upstream: %w", err)
	}
	return text, nil
}

// Kill ends the process in the middle of its runs. Nothing serves the address then.
func (u *Upstream) Kill() error { return u.signal(syscall.SIGKILL) }

// Finish ends the process as a restart does: it takes no new connections, finishes its runs
// and ends.
func (u *Upstream) Finish() error { return u.signal(syscall.SIGTERM) }

func (u *Upstream) signal(signal syscall.Signal) error {
	err := u.process.Process.Signal(signal)
	if signal == syscall.SIGKILL {
		err = errors.Join(err, u.noteKilled())
	}
	if err != nil {
		return fmt.Errorf("ending upstream: %w", err)
	}
	err = u.process.Wait()
	u.process = nil
	var status *exec.ExitError
	if signal == syscall.SIGKILL && errors.As(err, &status) {
		err = nil // as it should
	}
	if err = errors.Join(err, closed(u.input)); err != nil {
		return fmt.Errorf("ending upstream: %w", err)
	}
	return nil
}

// closed closes the input of a process. Its end may have closed it already.
func closed(input io.Closer) error {
	if err := input.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// noteKilled notes the end in the journal, since the process cannot.
func (u *Upstream) noteKilled() error {
	if u.config.Journal == "" {
		return nil
	}
	j, err := journal.Open(u.config.Journal)
	if err != nil {
		return err
	}
	j.Note(journal.Killed, 0)
	return j.Close()
}

// Journal returns what the processes of the upstream have noted so far.
func (u *Upstream) Journal() ([]journal.Entry, error) { return journal.Load(u.config.Journal) }

// Stop ends the process, if it has not ended yet, and waits for it.
func (u *Upstream) Stop() error {
	if u.process == nil {
		return nil
	}
	err := errors.Join(closed(u.input), u.process.Wait())
	u.process = nil
	if err != nil {
		return fmt.Errorf("stopping upstream: %w", err)
	}
	return nil
}

// The ports of FreeAddr. The kernel takes those of outgoing connections above, so that none
// can take the port of an upstream that is away, nor connect to itself there.
const (
	lowestPort  = 10_000
	highestPort = 30_000
)

// FreeAddr returns a loopback address for Config.Addr that is free now.
func FreeAddr() (string, error) {
	const attempts = 100
	var err error
	for range attempts {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowestPort+rand.IntN(highestPort-lowestPort)))
		var listener net.Listener
		if listener, err = net.Listen("tcp", addr); err == nil {
			return addr, listener.Close()
		}
	}
	return "", fmt.Errorf("looking for a free port: %w", err)
}
