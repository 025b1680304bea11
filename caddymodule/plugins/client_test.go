//go:build integration

package plugins

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// visit is one request that all sites get.
type visit struct {
	name, method, path string
	fields             map[string]string
	body               int  // bytes
	untold             bool // without its length
}

var visits = []visit{
	{name: "GET", path: "plain"},
	{name: "HEAD", method: "HEAD", path: "plain"},
	{name: "GET that takes gzip", path: "plain", fields: map[string]string{"Accept-Encoding": "gzip"}},
	{name: "a large answer", path: "large"},
	{name: "a large answer that takes gzip", path: "large", fields: map[string]string{"Accept-Encoding": "gzip"}},
	{name: "a zipped answer", path: "zipped", fields: map[string]string{"Accept-Encoding": "gzip"}},
	{name: "events", path: "events", fields: map[string]string{"Accept": "text/event-stream"}},
	{name: "404", path: "gone"},
	{name: "500", path: "broken"},
	{name: "204", path: "nothing"},
	{name: "a cut answer", path: "cut"},
	{name: "an answer with a trailer", path: "trailer", fields: map[string]string{"TE": "trailers"}},
	{name: "POST", method: "POST", path: "echo", body: 100},
	{name: "a large POST", method: "POST", path: "echo", body: 300_000},
	{name: "POST of unknown length", method: "POST", path: "echo", body: 100_000, untold: true},
	{name: "what the firewall forbids", path: "forbidden"},
	{name: "a stranger", path: "plain", fields: map[string]string{"X-Stranger": "1"}},
	{name: "POST that is answered by another request", method: "POST", path: "again", body: 100},
}

// versioned is a client for a version of HTTP, with the scheme that it takes.
type versioned struct {
	name, scheme string
	http.RoundTripper
}

// versions returns one for each.
func versions(t *testing.T) []versioned {
	insecure := &tls.Config{InsecureSkipVerify: true}
	var h1, h2, h2c http.Protocols
	h1.SetHTTP1(true)
	h2.SetHTTP2(true)
	h2c.SetUnencryptedHTTP2(true)
	h3 := &http3.Transport{TLSClientConfig: insecure.Clone(), DisableCompression: true}
	t.Cleanup(func() { _ = h3.Close() })
	transport := func(p *http.Protocols) *http.Transport {
		tr := &http.Transport{TLSClientConfig: insecure.Clone(), Protocols: p, DisableCompression: true}
		t.Cleanup(tr.CloseIdleConnections)
		return tr
	}
	return []versioned{
		{"HTTP/1.1", "http", transport(&h1)},
		{"h2c", "http", transport(&h2c)},
		{"h2", "https", transport(&h2)},
		{"HTTP/3", "https", h3},
	}
}

// cut is all that is to be compared of an answer that does not come whole: how much of it
// arrives before its end differs between two requests to one site.
const cut = "cut"

// seen returns the response that a client gets, in lines.
func (v visit) seen(t *testing.T, c versioned, s *site) string {
	t.Helper()
	method, body := v.method, io.Reader(nil)
	if method == "" {
		method = http.MethodGet
	}
	if v.body > 0 {
		body = bytes.NewReader(bytes.Repeat([]byte("x"), v.body))
	}
	if v.untold {
		body = io.MultiReader(body)
	}
	// The key of a cache is path and host, and each version must miss it.
	url := s.url(c.scheme) + "/" + v.path + "/" + strings.ReplaceAll(c.name, "/", "") + strings.ReplaceAll(v.name, " ", "-")
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range v.fields {
		req.Header.Set(name, value)
	}
	client := &http.Client{Transport: c, Timeout: time.Minute}
	res, err := client.Do(req)
	if err != nil {
		return cut
	}
	defer res.Body.Close()
	content, err := contentOf(res)
	if err != nil {
		return cut
	}
	lines := append(fieldsOf(res), fmt.Sprint("status ", res.StatusCode), fmt.Sprintf("%x %d bytes", sha256.Sum256(content), len(content)))
	for name, values := range res.Trailer {
		lines = append(lines, "trailer "+name+": "+strings.Join(values, ", "))
	}
	return strings.Join(lines, "\n")
}

// contentOf unzips: how well a body is zipped depends on the pieces in which it came.
func contentOf(res *http.Response) ([]byte, error) {
	if res.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(res.Body)
	}
	z, err := gzip.NewReader(res.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// fieldsOf omits fields that differ between two requests to one site.
func fieldsOf(res *http.Response) []string {
	var fields []string
	for name, values := range res.Header {
		if !slices.Contains([]string{"Date", "Alt-Svc", "Age", "Cache-Status", "Content-Length"}, name) {
			fields = append(fields, name+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(fields)
	return fields
}
