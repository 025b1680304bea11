//go:build integration

package backends

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
)

// phpSite are the files of a PHP site. Its front controller answers pretty URLs. Requests
// with ?hold say in a file that they have begun, and last until one of that name is there.
var phpSite = map[string]string{
	"index.php":     `<?php if (isset($_GET["hold"])) touch($_GET["hold"] . ".begun"); if (isset($_GET["hold"])) while (!file_exists($_GET["hold"])) { clearstatcache(); usleep(10000); } echo "front ", strtok($_SERVER["REQUEST_URI"], "?");`,
	"other.php":     `<?php echo "other ", file_get_contents("php://input");`,
	"sub/index.php": `<?php echo "sub";`,
	"a.txt":         "static",
	"empty/b.css":   "static",
}

// The documented Caddyfile of a PHP site protects all that PHP answers, pretty URLs too,
// and lets static files pass.
func TestPHPSiteAsDocumented(t *testing.T) {
	folder := t.TempDir()
	for name, text := range phpSite {
		file := filepath.Join(folder, "site", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fpm, err := backend{name: "PHP-FPM", php: true}.serve(t, "", start{workers: 10})
	if err != nil {
		t.Fatal(err)
	}
	addr := services.Loopback + ":" + lab.Port(t)
	config := "{\n\tadmin off\n\tpersist_config off\n}\n" + documented(t, map[string]string{
		"example.com":                  "http://" + addr,
		"/srv/app/public":              filepath.Join(folder, "site"),
		"unix//run/php/php-fpm.sock":   fpm.addr,
		"concurrency 5 # as pm.max_ch": "concurrency 1\nqueue 0 # ",
	})
	file := filepath.Join(folder, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	err = run(t, services.Program{
		Name: "Caddy", Args: []string{os.Args[0], "run", "--config", file, "--adapter", "caddyfile"}, Log: filepath.Join(folder, "caddy"),
		Env: []string{asCaddy + "=1", "XDG_DATA_HOME=" + folder, "HOME=" + folder},
	}, addr)
	if err != nil {
		t.Fatal(err)
	}

	php := map[string]string{
		"/": "200 front /", "/index.php": "200 front /index.php", "/pretty/url": "200 front /pretty/url", "/none.css": "200 front /none.css",
		"/other.php": "200 other ", "/sub/": "200 sub", "/index.php/info": "200 front /index.php/info",
	}
	static := map[string]string{"/a.txt": "200 static", "/empty/b.css": "200 static"}
	for path, want := range php {
		ask(t, addr+path, want)
	}
	for path, want := range static {
		ask(t, addr+path, want)
	}
	held, sentinel := make(chan string), filepath.Join(folder, "go-on")
	go func() { held <- get(addr + "/held?hold=" + sentinel) }()
	awaitFile(t, sentinel+".begun")
	for path := range php {
		ask(t, addr+path, "503 Service Unavailable\n")
	}
	for path, want := range static {
		ask(t, addr+path, want)
	}
	if err := os.WriteFile(sentinel, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := <-held; got != "200 front /held" {
		t.Errorf("the held request got %s", got)
	}
	res, err := http.Post("http://"+addr+"/other.php", "text/plain", io.MultiReader(strings.NewReader(strings.Repeat("x", 10_000))))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 200 || len(text) != len("other ")+10_000 {
		t.Errorf("an upload without a length got %d with %d bytes", res.StatusCode, len(text))
	}
}

// documented is the Caddyfile of docs/plugins.md with php_fastcgi in it, for this machine.
func documented(t *testing.T, replace map[string]string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(page), "```caddyfile\n") {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(block, "php_fastcgi ") || !strings.Contains(block, "example.com") {
			continue
		}
		for old, by := range replace {
			if !strings.Contains(block, old) {
				t.Fatalf("no %q in the documented Caddyfile", old)
			}
			block = strings.ReplaceAll(block, old, by)
		}
		return block
	}
	t.Fatal("no Caddyfile for PHP in the page")
	return ""
}

func get(url string) string {
	res, err := http.Get("http://" + url)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return fmt.Sprint(res.StatusCode, " ", string(text))
}

func ask(t *testing.T, url, want string) {
	t.Helper()
	if got := get(url); got != want {
		t.Errorf("%s: got %q, want %q", url, got, want)
	}
}

// awaitFile waits until a file is there.
func awaitFile(t *testing.T, name string) {
	t.Helper()
	testkit.Eventually(t, func() bool {
		_, err := os.Stat(name)
		return err == nil
	})
}
