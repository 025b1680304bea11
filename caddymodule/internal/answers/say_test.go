package answers_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

var statuses = answers.Statuses{Reject: 503, Timeout: 504}

// answerTo returns the answer for a reason, with 1.5 s to wait where later is better.
func answerTo(r offloader.Reason) answers.Answer {
	a := answers.For(r, statuses)
	a.ID = "0123456789abc"
	if a.Later {
		a.Retry = offloader.Retry{Turn: 1500 * time.Millisecond, Seconds: 2}
	}
	return a
}

// say returns the response to a request with such fields, "Name: value" each.
func say(a answers.Answer, method string, fields ...string) *http.Response {
	r := httptest.NewRequest(method, "/<script>?a=%22", nil)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	a.Describe(w.Header())
	a.Say(w, r)
	return w.Result()
}

// read returns the body, of the length that the header says.
func read(t *testing.T, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.ContentLength != int64(len(body)) {
		t.Errorf("%d bytes, %v, want %d", len(body), err, res.ContentLength)
	}
	return string(body)
}

const (
	plainType   = "text/plain; charset=utf-8"
	pageType    = "text/html; charset=utf-8"
	problemType = "application/problem+json"
	eventsType  = "text/event-stream"
)

// Fields of clients.
const (
	ofChromium = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
	ofFirefox  = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	ofAxios    = "Accept: application/json, text/plain, */*"
	ofJQuery   = "Accept: application/json, text/javascript, */*; q=0.01"
	ofStreams  = "Accept: text/event-stream"
	ofImages   = "Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
	navigates  = "Sec-Fetch-Mode: navigate"
	fetches    = "Sec-Fetch-Mode: cors"
)

func TestTheAnswerHasTheFormOfItsClient(t *testing.T) {
	t.Parallel()
	type fields = []string
	for name, tt := range map[string]struct {
		method string
		fields []string
		want   string
	}{
		"no field":                            {"GET", nil, plainType},
		"anything":                            {"GET", fields{"Accept: */*"}, plainType},
		"an empty field":                      {"GET", fields{"Accept: "}, plainType},
		"text":                                {"GET", fields{"Accept: text/plain"}, plainType},
		"images":                              {"GET", fields{ofImages}, plainType},
		"images of a browser":                 {"GET", fields{ofImages, "Sec-Fetch-Mode: no-cors"}, plainType},
		"fetch":                               {"GET", fields{"Accept: */*", fetches}, plainType},
		"a WebSocket":                         {"GET", fields{"Sec-Fetch-Mode: websocket"}, plainType},
		"a page of Chromium":                  {"GET", fields{ofChromium, navigates}, pageType},
		"a page in the clear":                 {"GET", fields{ofFirefox}, pageType},
		"HEAD of a page":                      {"HEAD", fields{ofFirefox}, pageType},
		"a form":                              {"POST", fields{ofFirefox, navigates}, pageType},
		"a form in the clear":                 {"POST", fields{ofFirefox}, pageType},
		"PUT that likes pages":                {"PUT", fields{ofFirefox}, plainType},
		"PUT that navigates":                  {"PUT", fields{ofFirefox, navigates}, plainType},
		"fetch of a page":                     {"GET", fields{"Accept: text/html", fetches}, plainType},
		"fetch of a page or JSON":             {"GET", fields{"Accept: text/html, application/json", fetches}, problemType},
		"a page second":                       {"GET", fields{"Accept: image/png, text/html"}, plainType},
		"a page after anything":               {"GET", fields{"Accept: */*, text/html"}, plainType},
		"a page, in capitals":                 {"GET", fields{"Accept: TEXT/HTML"}, pageType},
		"a page by weight":                    {"GET", fields{"Accept: application/json;q=0.5, text/html;q=0.7"}, pageType},
		"JSON":                                {"GET", fields{"Accept: application/json"}, problemType},
		"JSON of axios":                       {"POST", fields{ofAxios}, problemType},
		"JSON of axios in a browser":          {"POST", fields{ofAxios, fetches}, problemType},
		"JSON of jQuery":                      {"GET", fields{ofJQuery}, problemType},
		"a problem":                           {"GET", fields{"Accept: application/problem+json"}, problemType},
		"another JSON":                        {"GET", fields{"Accept: application/vnd.api+json; profile=\"a, b; q=0\""}, problemType},
		"JSON by weight":                      {"GET", fields{"Accept: text/html;q=0.5, application/json;q=0.7"}, problemType},
		"JSON before a page":                  {"GET", fields{"Accept: application/json, text/html"}, problemType},
		"JSON, with a space before the colon": {"GET", fields{"Accept: application/json ; Q=1"}, problemType},
		"JSON in the second line":             {"GET", fields{"Accept: image/png", "Accept: application/json;q=0.1"}, problemType},
		"JSON behind text":                    {"GET", fields{"Accept: text/plain, application/json"}, plainType},
		"JSON above text":                     {"GET", fields{"Accept: text/plain;q=0.4, application/json;q=0.5"}, problemType},
		"no JSON":                             {"GET", fields{"Accept: application/json;q=0, */*"}, plainType},
		"JSON of a wrong weight":              {"GET", fields{"Accept: application/json;q=x, application/json;q=2, application/json;q=NaN, application/json;q=-1"}, plainType},
		"JSON as a parameter":                 {"GET", fields{"Accept: a/b;c=\"application/json\", d/e;f=\"\\\", application/json\""}, plainType},
		"any application":                     {"GET", fields{"Accept: application/*"}, plainType},
		"the suffix alone":                    {"GET", fields{"Accept: +json"}, plainType},
		"an EventSource":                      {"GET", fields{ofStreams, fetches}, eventsType},
		"a program that reads streams":        {"GET", fields{ofStreams}, plainType},
		"fetch of a stream":                   {"POST", fields{ofStreams, fetches}, plainType},
		"a stream among others":               {"GET", fields{"Accept: text/event-stream, */*", fetches}, plainType},
	} {
		res := say(answerTo(offloader.QueueFull), tt.method, tt.fields...)
		wantStatus := 503
		if tt.want == eventsType {
			wantStatus = 200
		}
		if got := res.Header.Get("Content-Type"); got != tt.want || res.StatusCode != wantStatus {
			t.Errorf("%s: got %d %s, want %s", name, res.StatusCode, got, tt.want)
		}
		if tt.method != http.MethodHead {
			read(t, res)
		} else if body, _ := io.ReadAll(res.Body); len(body) > 0 || res.ContentLength <= 0 {
			t.Errorf("%s: got %q, of the length %d", name, body, res.ContentLength)
		}
		if res.Header.Get("Retry-After") != "2" || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Offload-Request-Id") != "0123456789abc" {
			t.Errorf("%s: got %v", name, res.Header)
		}
	}
}

// A browser's EventSource comes back in the time that it gets, and only after a status of
// 200. Where later is no better it gets the status, after which it never comes back.
func TestEventSources(t *testing.T) {
	t.Parallel()
	for _, reason := range offloader.Reasons() {
		a := answerTo(reason)
		res := say(a, "GET", ofStreams, fetches)
		body := read(t, res)
		switch {
		case a.Later && (res.StatusCode != 200 || body != "retry: 1500\n\n" || res.Header.Get("Content-Type") != eventsType):
			t.Errorf("%s: got %d %q", reason, res.StatusCode, body)
		case !a.Later && (res.StatusCode != a.Status || res.Header.Get("Content-Type") != plainType):
			t.Errorf("%s: got %d %v", reason, res.StatusCode, res.Header)
		}
	}
}

// A problem has all that a program needs, and its JSON is valid for each reason.
func TestProblems(t *testing.T) {
	t.Parallel()
	for _, reason := range offloader.Reasons() {
		a := answerTo(reason)
		var got map[string]any
		if err := json.Unmarshal([]byte(read(t, say(a, "GET", ofAxios))), &got); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		detail, _ := got["detail"].(string)
		if !strings.HasSuffix(detail, ".") || got["title"] != http.StatusText(a.Status) {
			t.Errorf("%s: got %v", reason, got)
		}
		want := map[string]any{
			"type": "about:blank", "title": got["title"], "status": float64(a.Status), "detail": detail,
			"reason": reason.String(), "id": "0123456789abc",
		}
		if a.Later {
			want["retry_after"], want["retry_after_ms"] = 2.0, 1500.0
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %v, want %v", reason, got, want)
		}
		for key, value := range want {
			if got[key] != value {
				t.Errorf("%s: got %s %v, want %v", reason, key, got[key], value)
			}
		}
	}
}

// A page is valid for each reason and method, its policy allows its own style alone, and
// nothing of the request is in it. It asks for itself again only if later is better and a
// GET is what the reader has sent.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, reason := range offloader.Reasons() {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			a := answerTo(reason)
			res := say(a, method, ofChromium, navigates)
			refresh := ""
			if a.Later && method != "POST" {
				refresh = "2"
			}
			if got := res.Header.Get("Refresh"); got != refresh || res.StatusCode != a.Status {
				t.Errorf("%s %s: got %d, Refresh %q, want %q", method, reason, res.StatusCode, got, refresh)
			}
			if method == "HEAD" {
				continue
			}
			text := read(t, res)
			if strings.Contains(text, "<script") || strings.Contains(text, "http:") || strings.Contains(text, "%22") {
				t.Errorf("%s %s: got %s", method, reason, text)
			}
			if byHand := strings.Contains(text, "by hand"); byHand != (method == "POST") {
				t.Errorf("%s %s: got %s", method, reason, text)
			}
			if again := strings.Contains(text, "This page tries again in 2 seconds."); again != (refresh != "") {
				t.Errorf("%s %s: got %s", method, reason, text)
			}
			checkPage(t, text, res.Header.Get("Content-Security-Policy"))
		}
	}
}

// checkPage checks that a page is what browsers take it for.
func checkPage(t *testing.T, text, policy string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil || !strings.HasPrefix(text, "<!DOCTYPE html>\n<html lang=\"en\">") {
		t.Fatalf("%v: %s", err, text)
	}
	found := map[string]string{}
	for node := range doc.Descendants() {
		if node.Type == html.ElementNode && node.FirstChild != nil {
			found[node.Data] = node.FirstChild.Data
		}
		for _, attribute := range node.Attr {
			if attribute.Key == "name" {
				found[attribute.Val] = node.Attr[len(node.Attr)-1].Val
			}
			if strings.HasPrefix(attribute.Key, "on") || attribute.Key == "src" || attribute.Key == "href" || attribute.Key == "style" {
				t.Errorf("the page has %v", attribute)
			}
		}
	}
	sum := sha256.Sum256([]byte(found["style"]))
	if !strings.Contains(policy, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("the policy is %s", policy)
	}
	if found["title"] == "" || found["title"] != found["h1"] || found["color-scheme"] != "light dark" || !strings.Contains(found["viewport"], "device-width") {
		t.Errorf("the page has %v", found)
	}
}

// The status of a route may have no name.
func TestStatusesWithoutAName(t *testing.T) {
	t.Parallel()
	a := answers.For(requests.RunTimeout, answers.Statuses{Reject: 503, Timeout: 599})
	for field, want := range map[string]string{"Accept: a/b": "Status 599\n", ofFirefox: "<h1>Status 599</h1>", ofAxios: `"title":"Status 599"`} {
		if body := read(t, say(a, "GET", field)); !strings.Contains(body, want) {
			t.Errorf("got %s, want %s", body, want)
		}
	}
}

// Timeouts and cancels are not to be sent again by a program, in all forms.
func TestWhatShouldNotBeSentAgain(t *testing.T) {
	t.Parallel()
	for _, reason := range offloader.Reasons() {
		final := reason == requests.RunTimeout || reason == requests.FirstByteTimeout || reason == offloader.Cancelled
		a := answerTo(reason)
		for _, accept := range []string{"Accept: */*", ofFirefox, ofAxios, ofStreams} {
			if got := say(a, "GET", accept, fetches).Header.Get("X-Should-Retry"); (got == "false") != final {
				t.Errorf("%s, %s: X-Should-Retry %q", reason, accept, got)
			}
		}
		w := httptest.NewRecorder()
		a.SayCall(w)
		pushback := ""
		if final {
			pushback = "-1"
		} else if a.Later {
			pushback = "1500"
		}
		if got := w.Header().Get("Grpc-Retry-Pushback-Ms"); got != pushback || w.Code != 200 {
			t.Errorf("%s: pushback %q, want %q", reason, got, pushback)
		}
	}
}
