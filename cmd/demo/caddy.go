package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/repository"
)

// ownHome sets a separate home folder for this process, so that it reads and
// writes no file of the user's Caddy. The returned function removes the folder.
func ownHome() (remove func() error, err error) {
	home, err := os.MkdirTemp("", "caddy-offload-demo-")
	if err != nil {
		return nil, fmt.Errorf("making a home folder for Caddy: %w", err)
	}
	err = errors.Join(os.Setenv("XDG_DATA_HOME", home), os.Setenv("XDG_CONFIG_HOME", home))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(home))
	}
	// Caddy has read the environment before main began.
	caddy.ConfigAutosavePath = filepath.Join(caddy.AppConfigDir(), "autosave.json")
	caddy.DefaultStorage.Path = caddy.AppDataDir()
	return func() error { return os.RemoveAll(home) }, nil
}

// adapt converts a Caddyfile of the repository into a config without effect
// outside the demo.
func adapt(elements ...string) ([]byte, error) {
	root, err := repository.Root()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(append([]string{root}, elements...)...)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the Caddyfile: %w", err)
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": path})
	if err != nil {
		return nil, fmt.Errorf("adapting the Caddyfile: %w", err)
	}
	return domesticated(config)
}

// apply replaces Caddy's config.
func apply(config []byte) error {
	if err := caddy.Load(config, true); err != nil {
		return fmt.Errorf("loading the config: %w", err)
	}
	return nil
}
