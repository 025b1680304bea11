package arguments_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/arguments"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// replacer has the values of placeholders from a client.
func replacer(values map[string]string) *caddy.Replacer {
	repl := caddy.NewEmptyReplacer()
	for name, value := range values {
		repl.Set(name, value)
	}
	return repl
}

func text(t *testing.T, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// The configuration decides the type of a value, regardless of the client's text.
func TestTypesOfValues(t *testing.T) {
	t.Parallel()
	hostile := `", "admin": true, "x": "`
	for _, tt := range []struct{ value, client, want string }{
		{"hello", "", `"hello"`},
		{"42", "", `42`},
		{"-1.50", "", `-1.50`},
		{"123456789012345678901234567890", "", `123456789012345678901234567890`},
		{"true", "", `true`},
		{"null", "", `null`},
		{`"42"`, "", `"42"`},
		{"[1, \"a\"]", "", `[1,"a"]`},
		{"1,5", "", `"1,5"`},
		{"NaN", "", `"NaN"`},
		{"", "", `""`},
		{"string(42)", "", `"42"`},
		{"string()", "", `""`},
		{"print(42)", "", `"print(42)"`},
		{"int(42", "", `"int(42"`},
		{"{q}", "42", `"42"`},
		{"{q}", "true", `"true"`},
		{"{q}", "null", `"null"`},
		{"{q}", `[1]`, `"[1]"`},
		{"{q}", `{"__type__": "bytes", "__value__": "a"}`, `"{\"__type__\": \"bytes\", \"__value__\": \"a\"}"`},
		{"{q}", "{secret}", `"{secret}"`},
		{"id-{q}", "7", `"id-7"`},
		{"{unknown}", "", `"{unknown}"`},
		{"int({q})", "42", `42`},
		{"int({q})", "-007", `-7`},
		{"int(1{q})", "2", `12`},
		{"float({q})", "1.5", `1.5`},
		{"float({q})", "2", `2.0`},
		{"float({q})", "1e3", `1e3`},
		{"bool({q})", "on", `true`},
		{"bool({q})", "FALSE", `false`},
		{"json({q})", `{"a": [1, 2]}`, `{"a":[1,2]}`},
		{"string({q})", "1", `"1"`},
		{`{"name": "{q}"}`, hostile, `{"name":"\", \"admin\": true, \"x\": \""}`},
		{`["{q}", {"deep": "a{q}b"}]`, "1", `["1",{"deep":"a1b"}]`},
		{`{"{q}": 1}`, "x", `{"{q}":1}`},
	} {
		value, err := arguments.Parse(tt.value)
		if err != nil {
			t.Errorf("%s: %v", tt.value, err)
			continue
		}
		got, err := value.Expand(replacer(map[string]string{"q": tt.client, "secret": "known"}))
		if err != nil || text(t, got) != tt.want {
			t.Errorf("%s with %q: got %s %v, want %s", tt.value, tt.client, text(t, got), err, tt.want)
		}
	}
}

// A conversion returns a value of its type or an error.
func TestValuesOfTheWrongType(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ value, client string }{
		{"int({q})", ""},
		{"int({q})", "1.0"},
		{"int({q})", "+1"},
		{"int({q})", "0x1f"},
		{"int({q})", "1_000"},
		{"int({q})", " 1"},
		{"int({q})", strings.Repeat("9", 1001)},
		{"float({q})", ""},
		{"float({q})", "NaN"},
		{"float({q})", "Infinity"},
		{"float({q})", "1e999"},
		{"float({q})", "[1]"},
		{"float({q})", "1 "},
		{"bool({q})", ""},
		{"bool({q})", "2"},
		{"json({q})", ""},
		{"json({q})", "NaN"},
		{"json({q})", "1], [2"},
	} {
		value, err := arguments.Parse(tt.value)
		if err != nil {
			t.Errorf("%s: %v", tt.value, err)
			continue
		}
		if got, err := value.Expand(replacer(map[string]string{"q": tt.client})); err == nil {
			t.Errorf("%s with %q: got %s", tt.value, tt.client, text(t, got))
		}
	}
}

func plan(t *testing.T, s arguments.Settings) *arguments.Plan {
	t.Helper()
	p, err := arguments.NewPlan(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const multipartForm = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n" +
	"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n2\r\n--b--\r\n"

func TestArgumentsOfARequest(t *testing.T) {
	t.Parallel()
	const anyJSON, anyForm = "application/json; charset=utf-8", "application/x-www-form-urlencoded"
	for name, tt := range map[string]struct {
		settings                 arguments.Settings
		contentType, body, query string
		args, kwargs             string
	}{
		"none": {args: `null`, kwargs: `{}`},
		"fixed ones come first": {
			settings: arguments.Settings{Args: []string{"1", "{q}"}, ArgsFrom: "array"}, contentType: anyJSON, body: `[3, {"x": 4.0}]`,
			args: `[1,"client",3,{"x":4.0}]`, kwargs: `{}`,
		},
		"a body as one value": {
			settings: arguments.Settings{ArgsFrom: "json"}, contentType: "application/vnd.api+json", body: `[3, 4]`,
			args: `[[3,4]]`, kwargs: `{}`,
		},
		"a body as it is": {
			settings: arguments.Settings{ArgsFrom: "raw"}, body: "grün\n", args: `["grün\n"]`, kwargs: `{}`,
		},
		"no body": {
			settings: arguments.Settings{ArgsFrom: "raw"}, args: `null`, kwargs: `{}`,
		},
		"an object": {
			settings: arguments.Settings{KwargsFrom: []string{"json"}}, contentType: anyJSON, body: `{"a": 1e400, "b": null}`,
			args: `null`, kwargs: `{"a":1e400,"b":null}`,
		},
		"a form": {
			settings: arguments.Settings{KwargsFrom: []string{"form"}}, contentType: anyForm, body: "a=1&b=x+y&b=z",
			args: `null`, kwargs: `{"a":"1","b":["x y","z"]}`,
		},
		"a form of parts": {
			settings: arguments.Settings{KwargsFrom: []string{"form"}}, contentType: "multipart/form-data; boundary=b", body: multipartForm,
			args: `null`, kwargs: `{"a":["1","2"]}`,
		},
		"values of a form, in their order": {
			settings: arguments.Settings{Args: []string{"1"}, ArgsFrom: "form"}, contentType: anyForm, body: "b=x+y&a=1&b=&c&&b=%26",
			args: `[1,"x y","1","","","\u0026"]`, kwargs: `{}`,
		},
		"values of a form of parts": {
			settings: arguments.Settings{ArgsFrom: "form"}, contentType: "multipart/form-data; boundary=b", body: multipartForm,
			args: `["1","2"]`, kwargs: `{}`,
		},
		"no form": {
			settings: arguments.Settings{ArgsFrom: "form"}, args: `null`, kwargs: `{}`,
		},
		"values of the query, in their order": {
			settings: arguments.Settings{ArgsFrom: "query", KwargsFrom: []string{"json"}}, query: "n=2&m=true&n=10&n=null&n=%5B1%5D",
			contentType: anyJSON, body: `{"a": 1}`,
			args: `["2","true","10","null","[1]"]`, kwargs: `{"a":1}`,
		},
		"no query": {
			settings: arguments.Settings{ArgsFrom: "query"}, args: `null`, kwargs: `{}`,
		},
		"values of the query and fields of a form": {
			settings: arguments.Settings{ArgsFrom: "query", KwargsFrom: []string{"form"}}, query: "n=2", contentType: anyForm, body: "a=1",
			args: `["2"]`, kwargs: `{"a":"1"}`,
		},
		"fields of the query that cannot be read are left out": {
			settings: arguments.Settings{KwargsFrom: []string{"query"}}, query: "a=1&b=%x&c;d=2&e=3",
			args: `null`, kwargs: `{"a":"1","e":"3"}`,
		},
		"later sources win, and what is fixed over all": {
			query: "page=1&deep=yes",
			settings: arguments.Settings{
				KwargsFrom: []string{"query", "json"}, Kwargs: map[string]string{"user": "{q}"},
			},
			contentType: anyJSON, body: `{"page": 9, "user": "root"}`,
			args: `null`, kwargs: `{"deep":"yes","page":9,"user":"client"}`,
		},
		"optional ones are left out": {
			settings: arguments.Settings{Kwargs: map[string]string{"a?": "int({empty})", "b?": "{q}", "c": "{empty}", "d?": "0"}},
			args:     `null`, kwargs: `{"b":"client","c":"","d":0}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args, kwargs, err := plan(t, tt.settings).Build(arguments.Input{
				Replacer: replacer(map[string]string{"q": "client", "empty": ""}), ContentType: tt.contentType, Body: []byte(tt.body),
				Query: tt.query,
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, args); got != tt.args {
				t.Errorf("args are %s, want %s", got, tt.args)
			}
			if got := text(t, kwargs); got != tt.kwargs {
				t.Errorf("kwargs are %s, want %s", got, tt.kwargs)
			}
		})
	}
}

func TestRequestsWithoutTheRightArguments(t *testing.T) {
	t.Parallel()
	const file = "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\n\r\n1\r\n--b--\r\n"
	for name, tt := range map[string]struct {
		settings          arguments.Settings
		contentType, body string
		want              string
	}{
		"no form at all":     {arguments.Settings{ArgsFrom: "form"}, "application/json", "[]", "the body is of another media type: want a form"},
		"a broken field":     {arguments.Settings{ArgsFrom: "form"}, "application/x-www-form-urlencoded", "a=1&b=%x", "the form cannot be read"},
		"a broken query":     {arguments.Settings{ArgsFrom: "query"}, "", "", "the query cannot be read"},
		"a value":            {arguments.Settings{Args: []string{"1", "int({q})"}}, "", "", "args 2: want a whole number"},
		"a named value":      {arguments.Settings{Kwargs: map[string]string{"n": "int({q})"}}, "", "", "kwargs 'n': want a whole number"},
		"no JSON":            {arguments.Settings{ArgsFrom: "json"}, "application/json", "{", "the body is not JSON"},
		"no array":           {arguments.Settings{ArgsFrom: "array"}, "application/json", "{}", "the body is not a JSON array"},
		"null for an array":  {arguments.Settings{ArgsFrom: "array"}, "application/json", "null", "the body is not a JSON array"},
		"no object":          {arguments.Settings{KwargsFrom: []string{"json"}}, "application/json", "[]", "the body is not a JSON object"},
		"null for an object": {arguments.Settings{KwargsFrom: []string{"json"}}, "application/json", "null", "the body is not a JSON object"},
		"no text":            {arguments.Settings{ArgsFrom: "raw"}, "", "\xff", "the body is not UTF-8"},
		"a type that is not": {arguments.Settings{ArgsFrom: "json"}, "text/plain", "1", "the body is of another media type: want JSON"},
		"no type":            {arguments.Settings{KwargsFrom: []string{"json"}}, "", "{}", "the body is of another media type: want JSON"},
		"no form":            {arguments.Settings{KwargsFrom: []string{"form"}}, "text/plain", "a=1", "the body is of another media type: want a form"},
		"a broken form":      {arguments.Settings{KwargsFrom: []string{"form"}}, "application/x-www-form-urlencoded", "a=%x", "the form cannot be read"},
		"a form without end": {arguments.Settings{KwargsFrom: []string{"form"}}, "multipart/form-data; boundary=b", multipartForm[:60], "the form cannot be read"},
		"a file":             {arguments.Settings{KwargsFrom: []string{"form"}}, "multipart/form-data; boundary=b", file, "uploaded files cannot be arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := plan(t, tt.settings).Build(arguments.Input{
				Replacer: replacer(map[string]string{"q": "x"}), ContentType: tt.contentType, Body: []byte(tt.body), Query: "a=1&%x=2",
			})
			if err == nil || err.Error() != tt.want {
				t.Fatalf("error is %v, want %s", err, tt.want)
			}
			if errors.Is(err, arguments.ErrMediaType) != strings.Contains(tt.want, "media type") {
				t.Error("only a wrong type is ErrMediaType")
			}
		})
	}
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for want, settings := range map[string]arguments.Settings{
		"args 1 'int(x)': want a whole number":                                 {Args: []string{"int(x)"}},
		"kwargs 'a' 'bool(x)': want true or false":                             {Kwargs: map[string]string{"a": "bool(x)"}},
		"kwargs: a name is empty":                                              {Kwargs: map[string]string{"?": "1"}},
		"unknown args_from 'path': want json or array or raw or form or query": {ArgsFrom: "path"},
		"the query is used twice: leave it out of args_from or of kwargs_from": {
			ArgsFrom: "query", KwargsFrom: []string{"form", "query"},
		},
		"unknown kwargs_from 'raw': want json or form or query": {KwargsFrom: []string{"raw"}},
		"kwargs_from names 'query' twice":                       {KwargsFrom: []string{"query", "query"}},
		"kwargs 'a' is set with and without a question mark":    {Kwargs: map[string]string{"a": "1", "a?": "2"}},
		"the body is used twice: args_from and kwargs_from may name one of json, array, raw and form in all": {
			ArgsFrom: "json", KwargsFrom: []string{"json"},
		},
	} {
		if _, err := arguments.NewPlan(settings); err == nil || err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
}

// For any configuration and any request, a value is valid JSON or an error, and text stays a
// string.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{"hello", "int({q})", "float({q})", "bool({q})", "json({q})", `{"a": "{q}"}`, "[1, 2", "string({q})", "{q}"} {
		f.Add(seed, "42")
	}
	f.Fuzz(func(t *testing.T, config, client string) {
		value, err := arguments.Parse(config)
		if err != nil {
			return
		}
		got, err := value.Expand(replacer(map[string]string{"q": client}))
		if err != nil {
			return
		}
		encoded, err := json.Marshal(got)
		if err != nil || !json.Valid(encoded) {
			t.Fatalf("%q with %q: %s %v", config, client, encoded, err)
		}
		if _, isText := got.(string); config == "{q}" && (!isText || got != client) {
			t.Fatalf("%q became %s", client, encoded)
		}
	})
}

// Headers of messages have fewer types than arguments.
func TestHeaders(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"a{q}":                  "a5",
		"int({q})":              int64(5),
		"float({q})":            5.0,
		"1e3":                   1000.0,
		"9223372036854775808":   9223372036854775808.0,
		"true":                  true,
		"null":                  nil,
		"json([{q}])":           []any{int64(5)},
		`{"a": ["{q}", 1, {}]}`: map[string]any{"a": []any{"5", int64(1), map[string]any{}}},
	} {
		value, err := arguments.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := value.ExpandHeader(replacer(map[string]string{"q": "5"}))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v %v", text, got, err)
		}
	}
	for _, text := range []string{"json({q})", "int({q})", "[1e999]", `{"a": 1e999}`} {
		value, err := arguments.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := value.ExpandHeader(replacer(map[string]string{"q": "x"})); err == nil {
			t.Errorf("%s: got %#v", text, got)
		}
	}
}
