package services

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// installing is held while packages are installed: parallel tests need the same
// packages.
var installing sync.Mutex

// PythonCommands returns the folder of commands of a virtual environment with the
// packages of a requirements file. The environment is made once and kept in the user's
// cache until the file changes.
func PythonCommands(ctx context.Context, requirements string) (string, error) {
	list, err := os.ReadFile(requirements)
	if err != nil {
		return "", fmt.Errorf("reading the requirements: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a cache: %w", err)
	}
	installing.Lock()
	defer installing.Unlock()
	folder := filepath.Join(cache, "caddy-offload", fmt.Sprintf("python-%x", sha256.Sum256(list))[:20])
	commands, complete := filepath.Join(folder, "bin"), filepath.Join(folder, "complete")
	if _, err := os.Stat(complete); err == nil {
		return commands, nil
	}
	err = errors.Join(
		os.RemoveAll(folder), // remains of an interrupted attempt
		os.MkdirAll(filepath.Dir(folder), 0o755),
	)
	if err != nil {
		return "", fmt.Errorf("making the folder for Python packages: %w", err)
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", folder},
		{filepath.Join(commands, "pip"), "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("installing %s: %w\n%s", requirements, err, out)
		}
	}
	if err := os.WriteFile(complete, nil, 0o644); err != nil {
		return "", fmt.Errorf("installing %s: %w", requirements, err)
	}
	return commands, nil
}
