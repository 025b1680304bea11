package statuspage

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
)

// secret is the key of the tokens of this process. It is a package variable, since pages of
// several configurations accept each other's tokens, so that a reload does not break an
// open page.
var secret = func() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return b
}()

// tokenFor returns the token for the pages of a host. Only a page of the same origin can
// read it, so it proves that an action comes from such a page.
func tokenFor(host string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(host))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// sameOrigin rejects requests that a page of another origin has caused, and requests
// without a header field about their origin.
var sameOrigin = http.NewCrossOriginProtection()

// mayAct checks that a request comes from a page of this host.
func mayAct(r *http.Request, token string) error {
	if r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
		return errors.New("the request has neither the field Sec-Fetch-Site nor Origin: actions are for browsers; scripts use the admin endpoint or 'caddy offload'")
	}
	if err := sameOrigin.Check(r); err != nil || r.Header.Get("Sec-Fetch-Site") == "none" {
		return errors.New("the request comes from another origin")
	}
	if !hmac.Equal([]byte(token), []byte(tokenFor(r.Host))) {
		return errors.New("the token is missing or is not that of this page: reload the page")
	}
	return nil
}
