package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

// front is one site of the Caddy under test.
type front struct {
	name    string
	addr    string
	tls     bool
	offload string // its directive, empty for the plain one
	plain   int    // number of the front to compare with
}

// plan lists the fronts: each way to speak HTTP/2 without offload, and with it.
func plan() ([]front, error) {
	const spooled, unspooled = "offload", "offload {\n\t\trequest_spool off\n\t\tresponse_spool off\n\t}"
	all := []front{
		{name: "TLS, plain", tls: true},
		{name: "TLS, offload", tls: true, offload: spooled},
		{name: "TLS, offload without spools", tls: true, offload: unspooled},
		{name: "h2c, plain", plain: 3},
		{name: "h2c, offload", plain: 3, offload: spooled},
		{name: "h2c, offload without spools", plain: 3, offload: unspooled},
	}
	for i := range all {
		addr, err := conformance.FreeAddr()
		if err != nil {
			return nil, err
		}
		all[i].addr = addr
	}
	return all, nil
}

// config is the Caddyfile. The field that tells whether a request has passed a
// pool makes sure that the right things are compared.
func config(fronts []front, upstream string) string {
	var b strings.Builder
	b.WriteString("{\n\tadmin off\n\tpersist_config off\n\tauto_https disable_redirects\n\tlocal_certs\n\tskip_install_trust\n" +
		"\tlog {\n\t\tlevel PANIC\n\t}\n\tservers {\n\t\tprotocols h1 h2 h2c\n\t}\n}\n")
	for _, f := range fronts {
		scheme := "http"
		if f.tls {
			scheme = "https"
		}
		fmt.Fprintf(&b, "%s://%s {\n\t%s\n\theader >X-Pool {http.offload.pool}\n\treverse_proxy %s\n}\n", scheme, f.addr, f.offload, upstream)
	}
	return b.String()
}

func (f front) await(ctx context.Context) error {
	client := f.client()
	defer client.CloseIdleConnections()
	for {
		err := f.check(ctx, client)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func (f front) client() *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP2(f.tls)
	protocols.SetUnencryptedHTTP2(!f.tls)
	return &http.Client{Transport: &http.Transport{
		Protocols:       &protocols,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
}

// check asks once, over HTTP/2, and looks whether a pool was passed.
func (f front) check(ctx context.Context, client *http.Client) error {
	scheme := "http"
	if f.tls {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+f.addr, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	passed := !strings.HasPrefix(res.Header.Get("X-Pool"), "{") // nobody knew what to put there
	if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 || passed != (f.offload != "") {
		return errors.New("unexpected answer: " + res.Status + " over " + res.Proto)
	}
	return nil
}
