package caddymodule_test

import (
	"os"
	"path/filepath"
	"testing"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
)

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(filepath.Dir(certificate().cert))
	os.Exit(code)
}
