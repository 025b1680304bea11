package requestbody

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
)

// Some request bodies cannot be read before the run, since their clients wait for an answer
// while they send. Header fields show that, and any client can set them to hold a permit as
// long as it likes. So the route decides which kinds of bodies are passed on; unless it
// names them itself, these runs share at most half of the permits; and bodies that arrive
// too slowly are cut off.

// Kind is a kind of requests whose bodies are passed on as they arrive.
type Kind struct {
	Word  string // of the option "unspooled"
	usual bool   // honoured unless the option says otherwise
	is    func(r *http.Request) bool
}

// allKinds lists all kinds. The first kind that fits a request and is on for its route
// counts.
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

// Kinds are the kinds that are on for a route. The zero value is the default.
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
			return u, fmt.Errorf("bad unspooled value: 'off' does not go with kinds: write one or the other")
		case word != kindOff && kind < 0:
			return u, fmt.Errorf("bad unspooled value '%s': want some of %s, or 'off'", word, strings.Join(kindWords(), ", "))
		case slices.Contains(list[:i], word):
			return u, fmt.Errorf("bad unspooled value: '%s' is listed twice", word)
		case kind >= 0:
			u.kinds = append(u.kinds, &allKinds[kind])
		}
		u.named = true
	}
	return u, nil
}

// honours reports whether bodies of a kind are passed on as they arrive.
func (u Kinds) honours(k *Kind) bool {
	if !u.named {
		return k.usual
	}
	return slices.Contains(u.kinds, k)
}

// Of returns the kind for which a request's body is passed on, nil if the body is spooled.
// refused is true if the request must be rejected: its client asks by RFC 10036 that the
// body is not spooled, and the route does not allow that.
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

// Bounds reports whether requests of a kind share half of the permits. They do not if the
// route names its kinds, since it has decided then, nor for tunnels with a protocol, since
// no backend reads their bytes before it has accepted the tunnel.
func (u Kinds) Bounds(k *Kind, r *http.Request) bool {
	return !u.named && (k.Word != "upgrade" || !isExtended(r))
}

// emptyOnHTTP3 reports whether a request without a length presumably has no body. On HTTP/3
// no request without a body has a length.
func emptyOnHTTP3(r *http.Request) bool {
	return r.ProtoMajor >= 3 && r.ContentLength < 0 &&
		slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions, http.MethodTrace}, r.Method)
}

// IsCall reports whether a request is a gRPC call, which exists only on HTTP/2 and later.
func IsCall(r *http.Request) bool { return r.ProtoMajor >= 2 && bridge.IsGRPC(r.Header) }

func isIncremental(r *http.Request) bool { return bridge.IsIncremental(r.Header) }

// isConnectStream reports whether a request is a stream of the Connect protocol. Its calls
// with one message have another content type, and can be spooled.
func isConnectStream(r *http.Request) bool {
	return r.ProtoMajor >= 2 && strings.HasPrefix(mediaType(r), "application/connect+")
}

// isJSONStream reports whether a request may be a conversation in lines of JSON. That needs
// HTTP/2 or later, where both sides can send at once, and a body of unknown length.
func isJSONStream(r *http.Request) bool {
	if r.ProtoMajor < 2 || r.ContentLength >= 0 {
		return false
	}
	media := mediaType(r)
	return media == "application/x-ndjson" || media == "application/ndjson"
}

// isTunnel reports whether a request asks for a tunnel, so that its body is the tunnel's
// content. Upgrades on HTTP/1 have no body; one that has is treated like any other request.
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

// resumableFields are the header fields of uploads that clients resume after a break: those
// of tus, and of all IETF drafts.
var resumableFields = []string{"Tus-Resumable", "Upload-Complete", "Upload-Incomplete", "Upload-Offset", "Upload-Draft-Interop-Version"}

// IsResumable reports whether a request is a part of a resumable upload.
func IsResumable(r *http.Request) bool {
	for _, field := range resumableFields {
		if r.Header[field] != nil {
			return true
		}
	}
	return false
}
