//go:build integration

package browser

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	_ "github.com/caddy-offload/caddy-offload/caddymodule/jobs"
)

// pictures is the folder for the screenshots of docs/pictures.
var pictures = flag.String("browser.pictures", "", "write the pictures of the documentation to this folder")

// The browser and the source of axe-core, for all tests.
var (
	chromium context.Context
	axe      string
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	source, err := os.ReadFile(filepath.Join(cache(), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "axe-core is missing: run .ci/browser first:", err)
		return 1
	}
	axe = string(source)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.NoSandbox, // it has none for root
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("font-render-hinting", "none"),
	)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	browser, endBrowser := chromedp.NewContext(allocator)
	if err := chromedp.Do(browser); err != nil {
		fmt.Fprintln(os.Stderr, "Chromium does not start: run .ci/browser first:", err)
		return 1
	}
	chromium = browser
	code := m.Run()
	endBrowser()
	end()
	if err := goleak.Find(goleak.IgnoreTopFunction("github.com/DeRuina/timberjack.(*Logger).millRun")); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// cache is the folder that .ci/browser fills.
func cache() string {
	folder, err := os.UserCacheDir()
	if err != nil {
		panic(err)
	}
	return filepath.Join(folder, "caddy-offload", "browser")
}
