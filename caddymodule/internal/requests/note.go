package requests

import "strings"

// Bounds of the texts in a note. Longer texts are cut, and end in dots.
const (
	maxNoteMethod = 16
	maxNoteClient = 48
	maxNoteHost   = 64
	maxNotePath   = 200
	noteSize      = maxNoteMethod + maxNoteClient + maxNoteHost + maxNotePath
)

// note keeps copies of the texts that identify a request.
type note struct {
	text                       [noteSize]byte
	Method, Client, Host, Path span
}

// span is a part of a note's text.
type span struct{ from, to uint16 }

// write replaces the texts of the note. It removes userinfo, which is no part of an
// identity, but which clients may write into a host or path.
func (n *note) write(who *Identity) {
	at := 0
	for _, part := range []struct {
		into *span
		text string
		most int
	}{
		{&n.Method, who.Method, maxNoteMethod},
		{&n.Client, who.Client, maxNoteClient},
		{&n.Host, withoutUserinfo(who.Host), maxNoteHost},
		{&n.Path, maskUserinfo(who.Path), maxNotePath},
	} {
		from := at
		at += copy(n.text[at:at+part.most], part.text)
		if len(part.text) > part.most {
			copy(n.text[at-3:], "...")
		}
		*part.into = span{uint16(from), uint16(at)}
	}
}

func (n *note) Read(s span) string { return string(n.text[s.from:s.to]) }

// withoutUserinfo removes the part of a host before an @.
func withoutUserinfo(host string) string { return host[strings.LastIndexByte(host, '@')+1:] }

// maskUserinfo masks the userinfo of URLs within a path, as in requests to a proxy.
func maskUserinfo(path string) string {
	from := strings.Index(path, "//")
	if from < 0 || !strings.Contains(path[from:], "@") {
		return path
	}
	authority, rest, _ := strings.Cut(path[from+2:], "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = "***" + authority[i:]
	}
	masked := path[:from+2] + authority
	if len(rest) > 0 {
		masked += "/" + maskUserinfo(rest)
	}
	return masked
}
