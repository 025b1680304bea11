package requestbody

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
)

// Some request bodies cannot be taken in before the run: their clients wait for an answer
// within them. A client asks for that by the fields of its request, and holds a permit for
// as long as it likes. So the route says which kinds it honours, those that it has not
// named itself hold half of the permits at most, and those that trickle are cut.

// Kind is a kind of requests whose bodies are passed on as they come.
type Kind struct {
	Word  string // of the option "unspooled"
	usual bool   // honoured unless the option says otherwise
	is    func(r *http.Request) bool
}

// allKinds are all of them. The first one that a request is of, and that its route
// honours, counts.
var allKinds = []Kind{
	{"grpc", true, IsCall},
	{"connect", true, isConnectStream},
	{"ndjson", true, isJSONStream},
	{"incremental", true, isIncremental},
	{"upgrade", true, isTunnel},
	{"resumable", false, IsResumable},
}

// kindWords are the words of allKinds.
func kindWords() []string {
	all := make([]string, len(allKinds))
	for i, k := range allKinds {
		all[i] = k.Word
	}
	return all
}

// kindOff honours no kind.
const kindOff = "off"

// Kinds are the kinds that a route honours. The zero value is the default.
type Kinds struct {
	named bool    // the route names them
	kinds []*Kind // if it does
}

// ParseKinds reads the option "unspooled", which may be empty.
func ParseKinds(list []string) (u Kinds, err error) {
	for i, word := range list {
		kind := slices.Index(kindWords(), word)
		switch {
		case word == kindOff && len(list) > 1:
			return u, fmt.Errorf("bad unspooled value: 'off' stands alone")
		case word != kindOff && kind < 0:
			return u, fmt.Errorf("bad unspooled value '%s': want some of %s, or 'off'", word, strings.Join(kindWords(), ", "))
		case slices.Contains(list[:i], word):
			return u, fmt.Errorf("bad unspooled value: '%s' is there twice", word)
		case kind >= 0:
			u.kinds = append(u.kinds, &allKinds[kind])
		}
		u.named = true
	}
	return u, nil
}

// honours reports whether bodies of a kind are passed on as they come.
func (u Kinds) honours(k *Kind) bool {
	if !u.named {
		return k.usual
	}
	return slices.Contains(u.kinds, k)
}

// Of returns the kind for which a request's body is passed on, nil if it is spooled. A
// client that asks for the former by RFC 10036 must get an error in place of the latter,
// which refused reports.
func (u Kinds) Of(r *http.Request) (kind *Kind, refused bool) {
	if emptyOnHTTP3(r) {
		return nil, false
	}
	for i := range allKinds {
		if k := &allKinds[i]; k.is(r) && u.honours(k) {
			return k, false
		}
	}
	return nil, isIncremental(r)
}

// Bounds reports whether requests of a kind share half of the permits. Where the route
// names kinds it has decided about them. What a tunnel carries before it is accepted is
// read by no backend.
func (u Kinds) Bounds(k *Kind, r *http.Request) bool {
	return !u.named && (k.Word != "upgrade" || !isExtended(r))
}

// emptyOnHTTP3 reports whether a request is presumed to have no body although it has no
// length either, as all without a body on HTTP/3.
func emptyOnHTTP3(r *http.Request) bool {
	return r.ProtoMajor >= 3 && r.ContentLength < 0 &&
		slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions, http.MethodTrace}, r.Method)
}

// IsCall reports whether a request is a call of gRPC, which there is on HTTP/2 and later
// only.
func IsCall(r *http.Request) bool { return r.ProtoMajor >= 2 && bridge.IsGRPC(r.Header) }

func isIncremental(r *http.Request) bool { return bridge.IsIncremental(r.Header) }

// isConnectStream reports whether a request is a stream of Connect. Calls of Connect with
// one message have another type, and can be spooled.
func isConnectStream(r *http.Request) bool {
	return r.ProtoMajor >= 2 && strings.HasPrefix(mediaType(r), "application/connect+")
}

// isJSONStream reports whether a request may be a conversation in lines of JSON. Both
// sides can talk at once on HTTP/2 and later only, and an upload of a known length is
// none.
func isJSONStream(r *http.Request) bool {
	if r.ProtoMajor < 2 || r.ContentLength >= 0 {
		return false
	}
	media := mediaType(r)
	return media == "application/x-ndjson" || media == "application/ndjson"
}

// isTunnel reports whether a request's body is what goes through the tunnel that it asks
// for. An upgrade on HTTP/1 has none, and if it has it is a request like any other.
func isTunnel(r *http.Request) bool {
	return r.ProtoMajor >= 2 && r.Method == http.MethodConnect && r.ContentLength < 0
}

// isExtended reports whether a CONNECT names a protocol (RFC 8441, RFC 9220).
func isExtended(r *http.Request) bool {
	return r.Header.Get(":protocol") != "" || !strings.HasPrefix(r.Proto, "HTTP/")
}

// mediaType is the type of a request's content, without its parameters.
func mediaType(r *http.Request) string {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// resumableFields mark uploads that their clients go on with after a break: tus, and the
// drafts of the IETF from the first to the last.
var resumableFields = []string{"Tus-Resumable", "Upload-Complete", "Upload-Incomplete", "Upload-Offset", "Upload-Draft-Interop-Version"}

// IsResumable reports whether a request brings a part of a resumable upload.
func IsResumable(r *http.Request) bool {
	for _, field := range resumableFields {
		if r.Header[field] != nil {
			return true
		}
	}
	return false
}
