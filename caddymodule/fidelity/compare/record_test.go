package compare

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// message is a message that one side got from the other.
type message struct {
	start   string // the status or the request line
	fields  []string
	body    []byte
	trailer []string
	end     string
}

// exchange is all that is known of a play.
type exchange struct {
	informed []message // 1xx
	answers  []message // one, but for raw requests
	after    string    // state of the connection after the exchange
	upstream []message
	log      []string // of the access log
	notes    []string

	partial bool // how much of the body arrives is chance
}

// fieldsOf lists a header by name; values of one name stay in order.
func fieldsOf(h http.Header) []string {
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		switch name {
		case "X-Play":
			continue
		case "Date":
			fields = append(fields, "Date")
			continue
		}
		for _, value := range h[name] {
			fields = append(fields, inOrder(name+": "+value))
		}
		if len(h[name]) == 0 {
			fields = append(fields, name)
		}
	}
	return fields
}

// inOrder sorts the names in a Trailer field, which reverse_proxy takes out of a map.
func inOrder(field string) string {
	list, ok := strings.CutPrefix(field, "Trailer: ")
	if !ok {
		return field
	}
	names := strings.Split(list, ", ")
	slices.Sort(names)
	return "Trailer: " + strings.Join(names, ", ")
}

// sortFields sorts by name; values of one name stay in order.
func sortFields(fields []string) {
	slices.SortStableFunc(fields, func(a, b string) int { return strings.Compare(nameOf(a), nameOf(b)) })
}

func nameOf(field string) string {
	name, _, _ := strings.Cut(field, ":")
	return name
}

func (x *exchange) clone() *exchange {
	c := *x
	c.informed = cloneMessages(x.informed)
	c.answers = cloneMessages(x.answers)
	c.upstream = cloneMessages(x.upstream)
	c.log, c.notes = slices.Clone(x.log), slices.Clone(x.notes)
	return &c
}

func cloneMessages(list []message) []message {
	list = slices.Clone(list)
	for i, m := range list {
		list[i].fields, list[i].trailer = slices.Clone(m.fields), slices.Clone(m.trailer)
	}
	return list
}

// agree removes differences that are chance if an answer was cut on HTTP/3, or its client
// has left: the length of the part that arrives, and whether the head arrives. If neither
// body is the start of the other, they still differ.
func (x *exchange) agree(y *exchange) {
	if !x.partial || !y.partial || len(x.answers) != 1 || len(y.answers) != 1 {
		return
	}
	a, b := &x.answers[0], &y.answers[0]
	n := min(len(a.body), len(b.body))
	a.body, b.body = a.body[:n], b.body[:n]
	if a.end != b.end {
		return
	}
	x.after = y.after // the client gives the connection up if it has seen no head
	if (a.start == "none") != (b.start == "none") {
		x.answers = y.answers
	}
}

// lines of text, for people and for diff.
func (x *exchange) lines() []string {
	var lines []string
	for _, m := range x.informed {
		lines = append(lines, m.lines("1xx")...)
	}
	for _, m := range x.answers {
		lines = append(lines, m.lines("answer")...)
	}
	for i, m := range x.upstream {
		lines = append(lines, m.lines(fmt.Sprintf("upstream %d", i+1))...)
	}
	for _, l := range x.log {
		lines = append(lines, "log "+l)
	}
	for _, l := range x.notes {
		lines = append(lines, "note "+l)
	}
	return append(lines, "connection after: "+x.after)
}

func (m message) lines(who string) []string {
	lines := []string{who + ": " + m.start}
	for _, f := range m.fields {
		lines = append(lines, who+" field "+cut(f))
	}
	lines = append(lines, fmt.Sprintf("%s body of %d bytes %x %q", who, len(m.body), sha256.Sum256(m.body), m.body[:min(40, len(m.body))]))
	for _, f := range m.trailer {
		lines = append(lines, who+" trailer "+cut(f))
	}
	return append(lines, who+" end: "+m.end)
}

// cut keeps reports short.
func cut(field string) string {
	const most = 200
	if len(field) <= most {
		return field
	}
	return fmt.Sprintf("%s... (%d bytes, %x)", field[:most], len(field), sha256.Sum256([]byte(field)))
}

// forgetLength is for raw uploads in chunks, to which the deviation for uploads of
// unknown length applies too.
func forgetLength(x *exchange) {
	for i := range x.upstream {
		x.upstream[i].fields = slices.DeleteFunc(x.upstream[i].fields, func(f string) bool {
			return nameOf(f) == "(length)" || nameOf(f) == "Content-Length"
		})
	}
}

// forgetUpstream is for requests that fail on their way: it is chance how much of them the
// upstream gets.
func forgetUpstream(x *exchange) { x.upstream = nil }

// forgetRead is for bodies that are not wanted: how much of them is read is chance.
func forgetRead(x *exchange) {
	x.log = slices.DeleteFunc(x.log, func(f string) bool { return nameOf(f) == "(read)" })
}

func forgetUpload(x *exchange) {
	forgetRead(x)
	forgetUpstream(x)
}

// forgetNoLength is for answers without a body and of unknown length, which
// reverse_proxy flushes by a timer that may fire too late. The server then declares
// that they are empty.
func (x *exchange) forgetNoLength() {
	m := &x.answers[0]
	m.fields = slices.DeleteFunc(m.fields, func(f string) bool {
		return f == "Content-Length: 0" || f == "Transfer-Encoding: chunked" || nameOf(f) == "(length)"
	})
}
