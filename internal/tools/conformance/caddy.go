package conformance

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// Caddy is a process with separate folders.
type Caddy struct {
	home string
	cmd  *exec.Cmd
}

// Start runs a Caddy with a Caddyfile. It returns before Caddy answers. The
// caller closes it.
func Start(binary, caddyfile string) (*Caddy, error) {
	home, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return nil, fmt.Errorf("make a home: %w", err)
	}
	c := &Caddy{home: home}
	file := filepath.Join(home, "Caddyfile")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		c.Close()
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	cmd := exec.Command(binary, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		c.Close()
		return nil, fmt.Errorf("start Caddy: %w", err)
	}
	c.cmd = cmd
	return c, nil
}

// Close ends the process and removes its folders.
func (c *Caddy) Close() {
	if c.cmd != nil {
		_ = c.cmd.Process.Kill() // Wait then reports that it was killed
		_ = c.cmd.Wait()
	}
	os.RemoveAll(c.home)
}

// FreeAddr returns a free address of this machine.
func FreeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("look for a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
