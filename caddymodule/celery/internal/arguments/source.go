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

// Sources of a request that arguments can be taken from.
const (
	JSON  = "json"  // the body, one value
	Array = "array" // the body, a JSON array
	Form  = "form"  // the body, fields of a form
	Query = "query" // the fields of the query string
	Raw   = "raw"   // the body, a string as it is
)

// ErrMediaType says that the body is not of the type that a source reads.
var ErrMediaType = errors.New("the body is of another media type")

// Input is what arguments are made of.
type Input struct {
	Replacer    Replacer
	Query       string // as it came
	ContentType string
	Body        []byte
}

// pair is a field of a form or of a query.
type pair struct{ name, value string }

// elements returns the args that a source holds.
func (in Input) elements(source string) ([]any, error) {
	switch {
	case source == Query:
		pairs, ok := readPairs(in.Query)
		if !ok { // one that is missing would shift the others
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

// fields adds the kwargs that a source holds.
func (in Input) fields(source string, kwargs map[string]any) error {
	switch {
	case source == Query:
		pairs, _ := readPairs(in.Query) // what cannot be read has no name
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

// form reads the body.
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

// readPairs reads urlencoded fields in their order, and reports whether it could
// read all of them.
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

// readMultipart reads a form without files.
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
			return nil, errors.New("files cannot be arguments")
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, errors.New("the form cannot be read")
		}
		pairs = append(pairs, pair{part.FormName(), string(text)})
	}
}

// valuesOf are always strings.
func valuesOf(pairs []pair) []any {
	var values []any
	for _, p := range pairs {
		values = append(values, p.value)
	}
	return values
}

// addFields adds what is always strings. A field that comes several times is an
// array of them.
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

// checkType refuses a body that does not say that it is of a type: a foreign
// page could make a browser send one that says nothing.
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
