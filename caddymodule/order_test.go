package caddymodule_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// ordered are directives of docs/plugins.md as a site has them, with a text that shows
// their place in the adapted configuration.
var ordered = map[string]struct{ directive, mark string }{
	"tracing":        {"tracing", `"handler":"tracing"`},
	"map":            {"map {path} {mapped} {\ndefault 1\n}", `"handler":"map"`},
	"vars":           {"vars one 1", `"one":1`},
	"root":           {"root /srv/ordered", `"root":"/srv/ordered"`},
	"log_append":     {"log_append one 1", `"handler":"log_append"`},
	"log_skip":       {"log_skip /skipped", `"log_skip":true`},
	"log_name":       {"log_name named", `"access_logger_names":["named"]`},
	"header":         {"header X-Ordered 1", `"X-Ordered"`},
	"request_body":   {"request_body {\nmax_size 1MB\n}", `"handler":"request_body"`},
	"redir":          {"redir /old /redirected", `"/redirected"`},
	"method":         {"method /m PUT", `"method":"PUT"`},
	"rewrite":        {"rewrite /a /rewritten", `"/rewritten"`},
	"uri":            {"uri strip_prefix /stripped", `"/stripped"`},
	"try_files":      {"try_files {path} /tried", `"/tried"`},
	"basic_auth":     {"basic_auth {\nann $2a$04$bhw/hnk19UcQ0HOmon/cluRakFIc.r61bGTxSsW1gmQp5nRMzaVbW\n}", `"handler":"authentication"`},
	"forward_auth":   {"forward_auth 127.0.0.1:1 {\nuri /asked\n}", `"/asked"`},
	"request_header": {"request_header X-Asked 1", `"X-Asked"`},
	"encode":         {"encode gzip", `"handler":"encode"`},
	"push":           {"push /pushed", `"handler":"push"`},
	"intercept":      {"intercept {\nreplace_status 418\n}", `"handler":"intercept"`},
	"templates":      {"templates", `"handler":"templates"`},
	"invoke":         {"invoke named", `"handler":"invoke"`},
	"handle":         {"handle /handled {\nrespond a\n}", `"/handled"`},
	"handle_path":    {"handle_path /cut/* {\nrespond a\n}", `"/cut/*"`},
	"route":          {"route /routed {\nrespond a\n}", `"/routed"`},
	"abort":          {"abort /aborted", `"/aborted"`},
	"error":          {"error /failed 500", `"/failed"`},
	"respond":        {"respond /said 200", `"/said"`},
	"metrics":        {"metrics /measured", `"/measured"`},
	"reverse_proxy":  {"reverse_proxy /proxied 127.0.0.1:1", `"/proxied"`},
	"php_fastcgi":    {"php_fastcgi /php/* 127.0.0.1:1", `"/php/*"`},
	"file_server":    {"file_server", `"handler":"file_server"`},
}

// The page has the actual place of each directive of Caddy.
func TestOrderIsAsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## The order\n")
	table, _, _ = strings.Cut(table, "\nA plugin says itself")
	code := regexp.MustCompile("`([a-z_]+)`")
	documented := make(map[string]bool)
	for row := range strings.Lines(table) {
		cells := strings.Split(row, " | ")
		if len(cells) < 2 || (cells[1] != "before" && cells[1] != "after") {
			continue
		}
		for _, found := range code.FindAllStringSubmatch(cells[0], -1) {
			documented[found[1]] = true
			t.Run(found[1], func(t *testing.T) { checkOrder(t, found[1], cells[1]) })
		}
	}
	if len(documented) != len(ordered) {
		t.Errorf("%d directives in the page, want %d", len(documented), len(ordered))
	}
}

// checkOrder adapts a site with the directive in front of offload and one with it behind.
func checkOrder(t *testing.T, name, stands string) {
	t.Helper()
	one, ok := ordered[name]
	if !ok {
		t.Fatal("the test has no such directive")
	}
	for _, lines := range []string{one.directive + "\noffload", "offload\n" + one.directive} {
		text := "&(named) {\nrespond a\n}\n:8080 {\n" + lines + "\n}\n"
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, routes, _ := strings.Cut(string(adapted), `"routes":`)
		at, offload := strings.Index(routes, one.mark), strings.Index(routes, `"handler":"offload"`)
		if at < 0 || offload < 0 {
			t.Fatalf("not in %s", adapted)
		}
		if got := map[bool]string{true: "before", false: "after"}[at < offload]; got != stands {
			t.Errorf("%s stands %s, the page says %s: %s", name, got, stands, routes)
		}
	}
}
