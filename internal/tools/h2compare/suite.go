package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/caddy-offload/caddy-offload/internal/tools/conformance"
)

// suite has fronts for each way to use HTTP/2, without offload and with it. Each
// case waits for a frame for two seconds at most.
func suite() conformance.Suite {
	const spooled, unspooled = "offload", "offload {\nrequest_spool off\nresponse_spool off\n}"
	return conformance.Suite{
		Fronts: []conformance.Front{
			{Name: "TLS, plain", TLS: true},
			{Name: "TLS, offload", TLS: true, Offload: spooled},
			{Name: "TLS, offload without spools", TLS: true, Offload: unspooled},
			{Name: "h2c, plain", Plain: 3},
			{Name: "h2c, offload", Plain: 3, Offload: spooled},
			{Name: "h2c, offload without spools", Plain: 3, Offload: unspooled},
		},
		Options:   "auto_https disable_redirects\nlocal_certs\nskip_install_trust\nservers {\nprotocols h1 h2 h2c\n}\n",
		Upstream:  http.HandlerFunc(answer),
		Check:     check,
		Arguments: arguments,
		Parse:     parse,
	}
}

// answer is the handler of the upstream. Its response is long enough for the cases that
// test flow control.
func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // some cases break the body on purpose
	_, _ = io.WriteString(w, strings.Repeat("conformance\n", 100))
}

// check sends one request over HTTP/2.
func check(ctx context.Context, f conformance.Front) (pool string, err error) {
	client := clientFor(f)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.Scheme()+"://"+f.Addr, nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
		return "", errors.New("unexpected answer: " + res.Status + " over " + res.Proto)
	}
	return res.Header.Get("X-Pool"), nil
}

func clientFor(f conformance.Front) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP2(f.TLS)
	protocols.SetUnencryptedHTTP2(!f.TLS)
	return &http.Client{Transport: &http.Transport{
		Protocols:       &protocols,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
}

// arguments returns those of h2spec, which plays the strict cases too, and the name of the
// report that h2spec writes.
func arguments(f conformance.Front, dir string) (args []string, report string) {
	host, port, _ := net.SplitHostPort(f.Addr) // the address always has both
	report = filepath.Join(dir, "report.xml")
	args = []string{"--strict", "--host", host, "--port", port, "--junit-report", report}
	if f.TLS {
		args = append(args, "--tls", "--insecure")
	}
	return args, report
}
