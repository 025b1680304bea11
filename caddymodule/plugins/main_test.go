//go:build integration

package plugins

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// program is the Caddy with the plugins, and fpm the address of a PHP-FPM for all sites.
var program, fpm string

// startTimeout is how long PHP-FPM may take to come up.
const startTimeout = time.Minute

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "offload-plugins")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	program = filepath.Join(folder, "caddy")
	if err := testkit.BuildLab(program); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	php, err := startPHP(folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, err, "(has .ci/backends been run?)")
		return 1
	}
	defer php.Kill()
	return m.Run()
}

// startPHP starts a PHP-FPM that runs more scripts at once than there are requests.
func startPHP(folder string) (_ *services.Server, err error) {
	var ports services.Ports
	if fpm, err = ports.Take(); err != nil {
		return nil, err
	}
	defer ports.Release()
	p, err := services.PHPFPM(fpm, folder, 20, "")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return services.StartServer(ctx, p, services.Listening(fpm))
}
