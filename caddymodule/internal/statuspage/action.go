package statuspage

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
)

// maxActionBody bounds the body of an action, in bytes.
const maxActionBody = 16 << 10

// readAction reads an action from a form or from JSON.
func readAction(w http.ResponseWriter, r *http.Request) (a Action, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxActionBody)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/json":
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&a); err != nil {
			return a, fmt.Errorf("bad body: %w", err)
		}
		return a, nil
	case "application/x-www-form-urlencoded":
		if err := r.ParseForm(); err != nil {
			return a, fmt.Errorf("bad form: %w", err)
		}
		get := r.PostForm.Get
		a = Action{get("token"), get("action"), get("pool"), get("state"), get("setting"), strings.TrimSpace(get("value")), get("id")}
		// A button has only one value, so the value has the name of the action and its
		// object.
		if name, object, ok := strings.Cut(a.Name, " "); ok {
			switch a.Name = name; name {
			case "breaker":
				a.State = object
			case "cancel", "retry", "cancel-job":
				a.ID = object
			}
		}
		return a, nil
	}
	return a, errors.New("bad body: want a form or JSON")
}

// call returns the request to the admin endpoint that performs the action.
func (a Action) call() (method, path string, body any, err error) {
	pool := "pools/" + admincommand.Segment(a.Pool)
	switch a.Name {
	case "pause", "resume", "drain":
		return http.MethodPost, pool + "/" + a.Name, nil, nil
	case "breaker":
		return http.MethodPost, pool + "/breaker", map[string]string{"state": a.State}, nil
	case "set":
		return http.MethodPatch, pool, map[string]any{a.Setting: settingValue(a.Value)}, nil
	case "reset":
		return http.MethodDelete, pool + "/override", nil, nil
	case "cancel":
		return http.MethodPost, "requests/" + admincommand.Segment(a.ID) + "/cancel", nil, nil
	case "retry":
		return http.MethodPost, jobview.Segment + "/" + admincommand.Segment(a.ID) + "/retry", nil, nil
	case "cancel-job":
		return http.MethodPost, jobview.Segment + "/" + admincommand.Segment(a.ID) + "/cancel", nil, nil
	}
	return "", "", nil, caddy.APIError{
		HTTPStatus: http.StatusBadRequest,
		Err:        fmt.Errorf("unknown action '%s': want pause, resume, drain, breaker, set, reset, cancel, retry or cancel-job", a.Name),
	}
}

// settingValue returns a value for JSON: a number, text, or nil to end an override.
func settingValue(text string) any {
	if text == "" {
		return nil
	}
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return text
}

// act performs an action of a page.
func (p *Page) act(w http.ResponseWriter, r *http.Request) error {
	if !p.options.Actions {
		return p.reject(w, http.StatusForbidden, "actions are off here: "+p.options.ActionsHint)
	}
	a, err := readAction(w, r)
	if err != nil {
		return p.reject(w, http.StatusBadRequest, err.Error())
	}
	if err := mayAct(r, a.Token); err != nil {
		return p.reject(w, http.StatusForbidden, err.Error())
	}
	method, path, body, err := a.call()
	if err == nil {
		err = p.hub.source.Do(r.Context(), method, path, body)
	}
	if p.options.Acted != nil {
		p.options.Acted(r, a, err)
	}
	if err != nil {
		return p.reject(w, statusOf(err), textOf(err))
	}
	p.hub.refresh(r.Context(), view{}, 0)
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"done":true}`)
		return nil
	}
	back := "?"
	switch {
	case a.Name == "retry" || a.Name == "cancel-job":
		back += url.Values{"job": {a.ID}}.Encode()
	case a.Pool != "":
		back += url.Values{"pool": {a.Pool}}.Encode()
	}
	// The address is relative to the one in the browser, which may have a prefix that a
	// proxy has removed.
	w.Header().Set("Location", back)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
