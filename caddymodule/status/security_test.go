package status_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

func action(token, name string) url.Values {
	return url.Values{"token": {token}, "pool": {"reports"}, "action": {name}}
}

func TestActionsAreOffByDefault(t *testing.T) {
	s, _ := serve(t, strings.Replace(usual, "{\n\tactions\n}", "", 1))
	res, text := s.post("/status", action("", "pause"))
	if res.StatusCode != http.StatusForbidden || !strings.Contains(text, "add 'actions' to the block of 'offload_status'") {
		t.Errorf("got %d %s", res.StatusCode, text)
	}
	_, text = s.get("/status?pool=reports", http.StatusOK)
	if strings.Contains(text, "<button name") || strings.Contains(text, "token") {
		t.Errorf("the page has actions: %s", text)
	}
}

func TestActionsOfAPageWork(t *testing.T) {
	s, _ := serve(t, usual)
	token := s.token("/status?pool=reports")
	act := func(form url.Values, shown string) {
		t.Helper()
		form.Set("token", token)
		form.Set("pool", "reports")
		res, text := s.post("/status?pool=reports", form)
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "?pool=reports" {
			t.Fatalf("%v: got %d %s %s", form, res.StatusCode, res.Header, text)
		}
		if _, text := s.get("/status?pool=reports", http.StatusOK); !strings.Contains(text, shown) {
			t.Errorf("%v: %q is not in the page %s", form, shown, text)
		}
	}
	act(url.Values{"action": {"pause"}}, "paused: new requests wait")
	act(url.Values{"action": {"resume"}}, `data-f="state">idle<`)
	act(url.Values{"action": {"drain"}}, "draining: new requests are rejected")
	act(url.Values{"action": {"resume"}}, `data-f="state">idle<`)
	act(url.Values{"action": {"breaker open"}}, "breaker open, forced")
	act(url.Values{"action": {"breaker auto"}}, "<dt>breaker</dt><dd>closed</dd>")
	act(url.Values{"action": {"set"}, "setting": {"concurrency"}, "value": {"4"}}, "4 (configured 1)")
	act(url.Values{"action": {"set"}, "setting": {"max_wait"}, "value": {"3s"}}, "3s (configured 10s)")
	act(url.Values{"action": {"set"}, "setting": {"max_wait"}, "value": {""}}, "<dt>max_wait</dt><dd>10s</dd>")
	act(url.Values{"action": {"reset"}}, "<dt>concurrency</dt><dd>1</dd>")
}

func TestAnActionCancelsARequest(t *testing.T) {
	s, _ := serve(t, usual)
	s.ask("/report/1")
	text := s.untilShown("/status?pool=reports", `value="cancel `)
	_, rest, _ := strings.Cut(text, `value="cancel `)
	id, _, _ := strings.Cut(rest, `"`)
	res, body := s.post("/status?pool=reports", action(s.token("/status?pool=reports"), "cancel "+id))
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("got %d %s", res.StatusCode, body)
	}
	s.untilShown("/status?pool=reports", "An operator cancelled it")
}

// JavaScript sends JSON, and gets it.
func TestActionsTakeJSON(t *testing.T) {
	s, _ := serve(t, usual)
	send := func(body string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url("/status"), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		return site.Do(t, s.c, req)
	}
	token := s.token("/status?pool=reports")
	if res, text := send(`{"token":"` + token + `","action":"pause","pool":"reports"}`); res.StatusCode != http.StatusOK || text != `{"done":true}` {
		t.Errorf("got %d %s", res.StatusCode, text)
	}
	s.untilShown("/status", `data-f="state">paused<`)
	if res, text := send(`{"token":"` + token + `","verb":"pause"}`); res.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown field: got %d %s", res.StatusCode, text)
	}
}

func TestWrongActionsSayWhatIsWanted(t *testing.T) {
	s, _ := serve(t, usual)
	token := s.token("/status?pool=reports")
	for _, test := range []struct {
		form   url.Values
		status int
		want   string
	}{
		{url.Values{"action": {"explode"}, "pool": {"reports"}}, 400, "unknown action 'explode': want pause, resume"},
		{url.Values{"action": {"pause"}, "pool": {"report"}}, 404, "no pool 'report'; known pools: 'reports'"},
		{url.Values{"action": {"pause"}, "pool": {"../pools/reports"}}, 404, "no pool '../pools/reports'"},
		{url.Values{"action": {"breaker ajar"}, "pool": {"reports"}}, 400, "unknown state 'ajar'"},
		{url.Values{"action": {"set"}, "pool": {"reports"}, "setting": {"concurrency"}, "value": {"many"}}, 400, "bad concurrency value 'many'"},
		{url.Values{"action": {"set"}, "pool": {"reports"}, "setting": {"name"}, "value": {"x"}}, 400, "name"},
		{url.Values{"action": {"cancel"}, "id": {"0000000000000"}}, 404, "no request '0000000000000'"},
		{url.Values{"action": {"cancel"}, "id": {"<script>"}}, 404, "that is not an id"},
	} {
		test.form.Set("token", token)
		res, text := s.post("/status", test.form)
		if res.StatusCode != test.status || !strings.Contains(text, test.want) {
			t.Errorf("%v: got %d %s", test.form, res.StatusCode, text)
		}
		if kind := res.Header.Get("Content-Type"); kind != "text/plain; charset=utf-8" {
			t.Errorf("%v: the answer is %s", test.form, kind)
		}
	}
}

// Nothing but a page of this site can act: whatever is missing or foreign, the pool stays as
// it is.
func TestForeignPagesCannotAct(t *testing.T) {
	s, _ := serve(t, usual)
	token := s.token("/status?pool=reports")
	for name, test := range map[string]struct {
		token  string
		fields []string
	}{
		"another site":                     {token, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"}},
		"another host of the site":         {token, []string{"Sec-Fetch-Site", "same-site"}},
		"another origin, an old browser":   {token, []string{"Sec-Fetch-Site", "", "Origin", "https://evil.test"}},
		"a hidden origin, an old browser":  {token, []string{"Sec-Fetch-Site", "", "Origin", "null"}},
		"a sandbox":                        {token, []string{"Sec-Fetch-Site", "cross-site", "Origin", "null"}},
		"no page at all":                   {token, []string{"Sec-Fetch-Site", "none"}},
		"neither field":                    {token, []string{"Sec-Fetch-Site", "", "Origin", ""}},
		"no token":                         {"", nil},
		"a wrong token":                    {strings.Repeat("A", len(token)), nil},
		"a longer token":                   {token + "A", nil},
		"a type that forms of others have": {token, []string{"Content-Type", "text/plain"}},
	} {
		t.Run(name, func(t *testing.T) {
			res, text := s.post("/status", action(test.token, "pause"), test.fields...)
			if res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusBadRequest {
				t.Errorf("got %d %s", res.StatusCode, text)
			}
		})
	}
	s.get("/status?action=pause&pool=reports&token="+token, http.StatusOK)
	if _, text := s.get("/status", http.StatusOK); !strings.Contains(text, `data-f="state">idle<`) {
		t.Errorf("the pool has changed: %s", text)
	}
	res, text := s.post("/status", action(token, "pause"), "Sec-Fetch-Site", "")
	if res.StatusCode != http.StatusSeeOther {
		t.Errorf("an old browser at the page itself: got %d %s", res.StatusCode, text)
	}
}

// What a client sends is text, wherever the page shows it.
func TestHostileTextsAreShownAsText(t *testing.T) {
	const script = "<script>alert(1)</script>"
	s, _ := serve(t, `
offload_status /status*
offload /report/* {
	name "<script>alert(1)</script>'\"&"
	concurrency 1
	queue 1
}
reverse_proxy UPSTREAM`)
	hostile := "/report/" + url.PathEscape(script+`"'`)
	s.ask(hostile)
	s.untilShown("/status", "serving")
	s.ask(hostile)
	s.untilShown("/status", "queueing")
	s.get(hostile, http.StatusServiceUnavailable) // for the list of rejected requests
	name := url.QueryEscape(script + `'"&`)
	for _, path := range []string{"/status", "/status?pool=" + name, "/status?pool=" + url.QueryEscape(script)} {
		res, text := site.Get(t, s.c, s.url(path))
		if strings.Contains(text, "<script>alert") || strings.Contains(text, `alert(1)</script>"'`) {
			t.Errorf("%s: %d, a script of a client is in the page", path, res.StatusCode)
		}
		if !strings.Contains(text, "&lt;script&gt;alert(1)&lt;/script&gt;") {
			t.Errorf("%s: the text is not in the page %s", path, text)
		}
	}
	messages := s.follow(s.c, "/status?events&pool="+name)
	find(t, messages, "detail", `\u003cscript\u003ealert`)
}
