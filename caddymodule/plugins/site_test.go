//go:build integration

package plugins

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	testsite "github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// site is one of the sites of a Caddy, all of which have one backend.
type site struct {
	clear, secure string
	upstream
}

func (s *site) url(scheme string) string {
	if scheme == "https" {
		return "https://" + s.secure
	}
	return "http://" + s.clear
}

const global = `{
	admin off
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	cache {
		ttl 60s
	}
	servers {
		protocols h1 h2 h2c h3
	}
}
`

// serve runs a Caddy with a site for each body, in which UPSTREAM stands for the backend and
// PHP for one in that.
func serve(t *testing.T, bodies ...string) []*site {
	t.Helper()
	held := make(upstream)
	backend := httptest.NewServer(held)
	t.Cleanup(backend.Close)
	folder := t.TempDir()
	scripts, err := filepath.Abs(filepath.Join("testdata", "site"))
	if err != nil {
		t.Fatal(err)
	}
	text, sites := global, make([]*site, len(bodies))
	for i, body := range bodies {
		sites[i] = &site{testsite.FreeAddr(t), testsite.FreeAddr(t), held} // not lab.Port: that holds the port of UDP
		body = strings.NewReplacer("UPSTREAM", backend.Listener.Addr().String(), "PHP", fpm).Replace(body)
		text += fmt.Sprintf("http://%s {\n%s\n}\nhttps://%s {\ntls internal\n%s\n}\n", sites[i].clear, body, sites[i].secure, body)
	}
	config := filepath.Join(folder, "Caddyfile")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := services.StartServer(ctx, services.Program{
		Name: "Caddy", Args: []string{program, "run", "--config", config, "--adapter", "caddyfile"},
		Log: filepath.Join(folder, "log"), Env: []string{"XDG_DATA_HOME=" + folder, "XDG_CONFIG_HOME=" + folder, "HOME=" + folder, "SITE=" + scripts},
	}, services.Listening(sites[len(sites)-1].clear))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	awaitCertificates(t, sites)
	return sites
}

// awaitCertificates waits until the sites speak TLS: Caddy makes certificates after it
// has begun to listen.
func awaitCertificates(t *testing.T, sites []*site) {
	t.Helper()
	for _, s := range sites {
		testkit.Eventually(t, func() bool {
			for _, c := range versions(t) {
				res, err := (&http.Client{Transport: c}).Get(s.url(c.scheme) + "/plain/ready")
				if err != nil {
					return false
				}
				res.Body.Close()
			}
			return true
		})
	}
}
