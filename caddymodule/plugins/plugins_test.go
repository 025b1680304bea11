//go:build integration

package plugins

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// combination is a route with OFFLOAD in it.
type combination struct {
	name, body string
}

// Backends, of which the second is PHP-FPM with a script for all paths.
const (
	proxy = "reverse_proxy UPSTREAM"
	php   = "php_fastcgi PHP {\nroot {$SITE}\n}"
)

// around makes all of a directive: in front of offload, and behind it, before either
// backend.
func around(name, directive string) []combination {
	return []combination{
		{name + " in front", "route {\n" + directive + "\nOFFLOAD\n" + proxy + "\n}"},
		{name + " behind", "route {\nOFFLOAD\n" + directive + "\n" + proxy + "\n}"},
		{name + " in front, PHP", "route {\n" + directive + "\nOFFLOAD\n" + php + "\n}"},
		{name + " behind, PHP", "route {\nOFFLOAD\n" + directive + "\n" + php + "\n}"},
	}
}

func combinations() []combination {
	all := []combination{
		{"alone", "OFFLOAD\n" + proxy},
		{"alone, PHP", "route {\nOFFLOAD\n" + php + "\n}"},
		{"inside handle_response", "reverse_proxy UPSTREAM {\n@then header X-Then *\nhandle_response @then {\nOFFLOAD\n" +
			"reverse_proxy UPSTREAM {\nmethod GET\nrewrite /plain\n}\n}\n}"},
	}
	for name, directive := range map[string]string{
		"rate_limit":   "rate_limit {\nzone lab {\nkey static\nevents 100000\nwindow 1m\n}\n}",
		"cache":        "cache",
		"waf":          "waf",
		"hub":          "hub",
		"forward_auth": "forward_auth UPSTREAM {\nuri /auth\n}",
		"encode":       "encode gzip",
		"templates":    "templates",
		"intercept":    "intercept {\n@gone status 404\nreplace_status @gone 410\n}",
		"all":          "waf\nrate_limit {\nzone lab {\nkey static\nevents 100000\nwindow 1m\n}\n}\nforward_auth UPSTREAM {\nuri /auth\n}\nencode gzip\ntemplates",
	} {
		all = append(all, around(name, directive)...)
	}
	return all
}

// A site with offload looks to its clients as the same one without it does.
func TestSitesLookTheSame(t *testing.T) {
	for _, c := range combinations() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sites := serve(t, strings.ReplaceAll(c.body, "OFFLOAD", ""), strings.ReplaceAll(c.body, "OFFLOAD", "offload {\nbreaker off\n}"))
			for _, version := range versions(t) {
				for _, v := range visits {
					without := v
					if strings.HasSuffix(c.name, "PHP") {
						without.untold = false // FastCGI needs a length, which offload finds out
					}
					want, got := without.seen(t, version, sites[0]), v.seen(t, version, sites[1])
					if v.name == "GET" && !strings.Contains(want, "status 200") {
						t.Errorf("%s: the site does not work: %s", version.name, want)
					}
					if got != want {
						t.Errorf("%s, %s: got\n%s\nwant as without offload\n%s", version.name, v.name, got, want)
					}
				}
			}
		})
	}
}

// A full pool rejects at once with any plugin around it, and no plugin in front of it
// caches the rejection.
func TestFullPool(t *testing.T) {
	for _, c := range combinations() {
		if strings.HasSuffix(c.name, "PHP") || c.name == "inside handle_response" { // which is for POST
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, strings.ReplaceAll(c.body, "OFFLOAD", "offload {\nconcurrency 1\nqueue 0\n}"))[0]
			for _, version := range versions(t) {
				client := &http.Client{Transport: version}
				get := func(path string) string {
					res, err := client.Get(s.url(version.scheme) + path + version.name)
					if err != nil {
						return err.Error()
					}
					defer res.Body.Close()
					return fmt.Sprint(res.StatusCode, " ", res.Header.Get("Retry-After") != "")
				}
				first := make(chan string)
				go func() { first <- get("/held/") }()
				release := <-s.upstream
				refused := get("/plain/")
				close(release)
				if got, want := []string{refused, <-first, get("/plain/")}, []string{"503 true", "200 false", "200 false"}; !slices.Equal(got, want) {
					t.Errorf("%s: got %q, want %q", version.name, got, want)
				}
			}
		})
	}
}

// Subscribers of a Mercure hub get updates and stay, with any plugin around it.
func TestMercureHub(t *testing.T) {
	for name, body := range map[string]string{
		"without offload": "route {\nhub\n" + proxy + "\n}",
		"in front":        "route {\nhub\noffload\n" + proxy + "\n}",
		"behind":          "route {\noffload\nhub\n" + proxy + "\n}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, body)[0]
			for _, c := range versions(t) {
				if c.name != "HTTP/3" { // the hub sends a field that is malformed there
					subscribe(t, c, s)
				}
			}
		})
	}
}

func subscribe(t *testing.T, c versioned, s *site) {
	t.Helper()
	client := &http.Client{Transport: c}
	res, err := client.Get(s.url(c.scheme) + "/.well-known/mercure?topic=lab")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got strings.Builder
	for range 2 {
		published, err := client.Get(s.url(c.scheme) + "/publish")
		if err != nil {
			t.Fatal(err)
		}
		published.Body.Close()
		want := strings.Count(got.String(), "data: an update") + 1
		for buf := make([]byte, 1000); strings.Count(got.String(), "data: an update") < want; {
			n, err := res.Body.Read(buf)
			got.Write(buf[:n])
			if err != nil {
				t.Fatalf("%s: the stream has ended after %q: %v", c.name, got.String(), err)
			}
		}
	}
}
