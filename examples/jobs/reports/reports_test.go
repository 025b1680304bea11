package reports_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/examples/jobs/reports"
)

func TestPagesAreReported(t *testing.T) {
	server := httptest.NewServer(reports.Server{Pace: reports.Every(time.Millisecond)})
	defer server.Close()
	var progress []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			progress = append(progress, h.Get("Offload-Progress"))
			return nil
		},
	})
	res, body := post(ctx, t, server.URL, "pages=2")
	if want := []string{`0; msg="page 1 of 2"`, `50; msg="page 2 of 2"`}; !reflect.DeepEqual(progress, want) {
		t.Errorf("the progress is %q, want %q", progress, want)
	}
	if res.StatusCode != 200 || res.Header.Get("Offload-Progress") != "" || body != "page 1: all is well\npage 2: all is well\n" {
		t.Errorf("the response is %s %v %s", res.Status, res.Header, body)
	}
	for _, form := range []string{"", "pages=0", "pages=1001", "pages=x"} {
		if res, _ := post(t.Context(), t, server.URL, form); res.StatusCode != 400 {
			t.Errorf("%s: %s", form, res.Status)
		}
	}
}

func post(ctx context.Context, t *testing.T, url, form string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}
