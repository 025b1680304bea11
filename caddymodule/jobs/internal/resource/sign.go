package resource

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// tokenParam is the parameter of the query with the token of a signed link.
const tokenParam = "token"

// grant is the right to read a part of a job until a time, without another proof of the
// client's identity.
type grant struct {
	id    jobs.ID
	scope string // the part: "", "result" or "events"
	until time.Time
}

// expiryLen is the length of the time in a token, in bytes.
const expiryLen = 8

// sign returns the token of a grant: its end in seconds, and a code that only the owner of
// the secret can make.
func (g grant) sign(secret []byte) string {
	token := binary.BigEndian.AppendUint64(nil, uint64(g.until.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(token, g.code(secret)...))
}

// code covers all that the token grants. The parts have fixed lengths, or stand at the end.
func (g grant) code(secret []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("offload_jobs link 1\n"))
	mac.Write(g.id[:])
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(g.until.Unix())))
	mac.Write([]byte(g.scope))
	return mac.Sum(nil)
}

// verify reports whether a token grants a part of a job now. Its time does not depend on the
// code in the token.
func verify(secret []byte, id jobs.ID, scope, token string, now time.Time) bool {
	text, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(text) != expiryLen+sha256.Size {
		return false
	}
	g := grant{id: id, scope: scope, until: time.Unix(int64(binary.BigEndian.Uint64(text)), 0)}
	return hmac.Equal(text[expiryLen:], g.code(secret)) && now.Before(g.until)
}
