package arguments

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Parts of a request that provide arguments.
const (
	JSON  = "json"  // body as one JSON value
	Array = "array" // elements of a JSON array in the body
	Form  = "form"  // fields of a form in the body
	Query = "query" // fields of the query string
	Raw   = "raw"   // body as a string
)

// ErrMediaType means that the body does not have the media type of its source.
var ErrMediaType = errors.New("the body is of another media type")

// Input is the request from which arguments are built.
type Input struct {
	Replacer    Replacer
	Query       string // encoded
	ContentType string
	Body        []byte
}

// pair is a field of a form or of a query.
type pair struct{ name, value string }

// elements returns the args from a source.
func (in Input) elements(source string) ([]any, error) {
	switch {
	case source == Query:
		pairs, ok := readPairs(in.Query)
		if !ok { // a missing arg would shift those after it
			return nil, errors.New("the query cannot be read")
		}
		return valuesOf(pairs), nil
	case source == "", len(in.Body) == 0:
		return nil, nil
	case source == Form:
		pairs, err := in.form()
		return valuesOf(pairs), err
	case source == Raw:
		if !utf8.Valid(in.Body) {
			return nil, errors.New("the body is not UTF-8")
		}
		return []any{string(in.Body)}, nil
	}
	return in.jsonElements(source)
}

// jsonElements returns the args from a JSON body, as raw JSON, so that no digit is lost.
func (in Input) jsonElements(source string) ([]any, error) {
	if err := in.checkType(isJSON, "JSON"); err != nil {
		return nil, err
	}
	if !json.Valid(in.Body) {
		return nil, errors.New("the body is not JSON")
	}
	if source == JSON {
		return []any{json.RawMessage(in.Body)}, nil
	}
	var array []json.RawMessage
	if err := json.Unmarshal(in.Body, &array); err != nil || array == nil {
		return nil, errors.New("the body is not a JSON array")
	}
	all := make([]any, len(array))
	for i, element := range array {
		all[i] = element
	}
	return all, nil
}

// fields adds the kwargs from a source.
func (in Input) fields(source string, kwargs map[string]any) error {
	switch {
	case source == Query:
		pairs, _ := readPairs(in.Query) // unreadable fields are ignored
		addFields(kwargs, pairs)
	case len(in.Body) == 0:
	case source == Form:
		pairs, err := in.form()
		addFields(kwargs, pairs)
		return err
	default:
		return in.objectFields(kwargs)
	}
	return nil
}

func (in Input) objectFields(kwargs map[string]any) error {
	if err := in.checkType(isJSON, "JSON"); err != nil {
		return err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(in.Body, &object); err != nil || object == nil {
		return errors.New("the body is not a JSON object")
	}
	for name, value := range object {
		kwargs[name] = value
	}
	return nil
}

// form parses the body.
func (in Input) form() ([]pair, error) {
	mediaType, params, err := mime.ParseMediaType(in.ContentType)
	switch {
	case err == nil && mediaType == "application/x-www-form-urlencoded":
		pairs, ok := readPairs(string(in.Body))
		if !ok {
			return nil, errors.New("the form cannot be read")
		}
		return pairs, nil
	case err == nil && mediaType == "multipart/form-data":
		return readMultipart(in.Body, params["boundary"])
	}
	return nil, fmt.Errorf("%w: want a form", ErrMediaType)
}

// readPairs parses urlencoded fields in their order. all is false if it skipped unreadable
// ones.
func readPairs(encoded string) (pairs []pair, all bool) {
	all = true
	for text := range strings.SplitSeq(encoded, "&") {
		values, err := url.ParseQuery(text)
		all = all && err == nil
		for name := range values { // one at most
			pairs = append(pairs, pair{name, values.Get(name)})
		}
	}
	return pairs, all
}

// readMultipart parses a multipart form. Files are an error.
func readMultipart(body []byte, boundary string) ([]pair, error) {
	var pairs []pair
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return pairs, nil
		}
		if err != nil {
			return nil, errors.New("the form cannot be read")
		}
		if part.FileName() != "" {
			return nil, errors.New("uploaded files cannot be arguments")
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, errors.New("the form cannot be read")
		}
		pairs = append(pairs, pair{part.FormName(), string(text)})
	}
}

// valuesOf returns the values of fields, which are always strings.
func valuesOf(pairs []pair) []any {
	var values []any
	for _, p := range pairs {
		values = append(values, p.value)
	}
	return values
}

// addFields adds fields to kwargs. The value is a string, or an array of strings for a repeated
// field.
func addFields(kwargs map[string]any, pairs []pair) {
	fields := make(map[string][]string)
	for _, p := range pairs {
		fields[p.name] = append(fields[p.name], p.value)
	}
	for name, all := range fields {
		if len(all) == 1 {
			kwargs[name] = all[0]
		} else {
			kwargs[name] = all
		}
	}
}

// checkType rejects a body without the wanted media type. A page of another site can make a
// browser send a body, but not with this type without a preflight request.
func (in Input) checkType(is func(string) bool, want string) error {
	mediaType, _, err := mime.ParseMediaType(in.ContentType)
	if err != nil || !is(mediaType) {
		return fmt.Errorf("%w: want %s", ErrMediaType, want)
	}
	return nil
}

func isJSON(mediaType string) bool {
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}
