package answers

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// pagePolicy is the Content-Security-Policy of a page, which allows only the page's own
// style. It has no rule about frames, so that a page within a frame can reload too.
var pagePolicy = fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'", pageStyleSum())

func pageStyleSum() string {
	_, style, _ := strings.Cut(pageText, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// pageData has the texts of a page. None of them comes from the request.
type pageData struct {
	Title, Detail string
	Next          string // what happens next, or what the reader can do
	Reason, ID    string
}

// page returns a page, and sets its header fields. If the client should come back, the page
// reloads itself. The answer to a POST does not, since the data of the form would get lost.
func (a Answer) page(h http.Header, method string) []byte {
	p := pageData{Title: a.title(), Detail: a.detail, Reason: a.Reason.String(), ID: a.ID}
	switch {
	case method == http.MethodPost:
		p.Next = a.byHand()
	case a.comesBack():
		p.Title = "You are in line"
		p.Next = fmt.Sprintf("This page tries again in %s.", seconds(a.retrySeconds()))
		h.Set("Refresh", strconv.Itoa(a.retrySeconds()))
	}
	h.Set("Content-Security-Policy", pagePolicy)
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		panic(err) // cannot happen: strings
	}
	return b.Bytes()
}

// byHand returns the advice for a user who has sent a form.
func (a Answer) byHand() string {
	switch {
	case a.comesBack():
		return fmt.Sprintf("What you have sent was not processed. Please send it again by hand, in %s.", seconds(a.retrySeconds()))
	case a.final:
		return "Please find out whether what you have sent was processed, before you send it again by hand."
	}
	return "What you have sent was not processed. Please change it before you send it again by hand."
}

func seconds(n int) string {
	if n == 1 {
		return "1 second"
	}
	return strconv.Itoa(n) + " seconds"
}
