package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// checker runs Caddy with separate folders, so that it reads and writes no file
// of the user.
type checker struct {
	binary string
	root   string
	home   string
	temp   string // Caddy's folder of temporary files
}

func newChecker(binary, root string) (*checker, error) {
	// Caddy runs in the folder of the file that it checks.
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, fmt.Errorf("path of Caddy: %w", err)
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, fmt.Errorf("path of the root: %w", err)
	}
	home, err := os.MkdirTemp("", "caddyfiles-")
	if err != nil {
		return nil, fmt.Errorf("make a home: %w", err)
	}
	temp := filepath.Join(home, "tmp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for temporary files: %w", err)
	}
	return &checker{binary, root, home, temp}, nil
}

func (c *checker) close() { os.RemoveAll(c.home) }

// piece checks one piece by its kind.
func (c *checker) piece(ctx context.Context, p piece) error {
	if p.kind == wholeFile {
		file := filepath.Join(c.root, filepath.FromSlash(p.file))
		return errors.Join(c.format(ctx, file), c.validate(ctx, file))
	}
	file, err := c.write(p.content)
	if err != nil {
		return err
	}
	if err := c.format(ctx, file); err != nil || p.kind == fragment {
		return err
	}
	whole := c.validate(ctx, file)
	if whole == nil {
		return nil
	}
	if file, err = c.write(":0 {\n" + indented(p.content) + "}\n"); err != nil {
		return err
	}
	if asSite := c.validate(ctx, file); asSite != nil {
		return fmt.Errorf("neither a Caddyfile (%w) nor directives of a site (%w)", whole, asSite)
	}
	return nil
}

// indented puts a block one level deeper, so that it stays formatted.
func indented(content string) string {
	var b strings.Builder
	for line := range strings.Lines(content) {
		if strings.TrimSpace(line) != "" {
			b.WriteByte('\t')
		}
		b.WriteString(line)
	}
	return b.String()
}

// write stores a block in a file for Caddy.
func (c *checker) write(content string) (string, error) {
	file := filepath.Join(c.home, "Caddyfile")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		return "", fmt.Errorf("write a block: %w", err)
	}
	return file, nil
}

// format fails with the difference if `caddy fmt` would change the file.
func (c *checker) format(ctx context.Context, file string) error {
	out, err := c.caddy(ctx, file, "fmt", "--diff", file)
	if err != nil {
		return fmt.Errorf("not formatted: %w\n%s", err, out)
	}
	return nil
}

// validate adapts and provisions the file, and checks that this leaves no
// temporary file.
func (c *checker) validate(ctx context.Context, file string) error {
	for _, command := range []string{"adapt", "validate"} {
		out, err := c.caddy(ctx, file, command, "--config", file, "--adapter", "caddyfile")
		if err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, lastLine(out))
		}
	}
	left, err := os.ReadDir(c.temp)
	if err != nil {
		return fmt.Errorf("look for temporary files: %w", err)
	}
	if len(left) > 0 {
		return fmt.Errorf("caddy validate has left the file %s behind", left[0].Name())
	}
	return nil
}

// caddy runs one command of Caddy in the folder of the file.
func (c *checker) caddy(ctx context.Context, file string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.binary, args...)
	cmd.Dir = filepath.Dir(file)
	cmd.Env = append(
		os.Environ(),
		"HOME="+c.home,
		"XDG_DATA_HOME="+filepath.Join(c.home, "data"),
		"XDG_CONFIG_HOME="+filepath.Join(c.home, "config"),
		"TMPDIR="+c.temp,
	)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// lastLine returns the last line of the output, where Caddy reports the error.
func lastLine(out string) string {
	out = strings.TrimSpace(out)
	return out[strings.LastIndexByte(out, '\n')+1:]
}
