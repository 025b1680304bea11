package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Bounds of symmetric keys in bytes, by the specification.
const (
	minKey = 24
	maxKey = 64
)

// key signs messages, as the specification Standard Webhooks says: with HMAC-SHA256, or with
// Ed25519 if private is set.
type key struct {
	shared  []byte
	private ed25519.PrivateKey
}

// signature returns the signature of a message with its version.
func (k key) signature(message []byte) string {
	if k.private != nil {
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, message))
	}
	mac := hmac.New(sha256.New, k.shared)
	mac.Write(message)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// sign returns the fields of a signed message by their names.
func sign(keys []key, id string, at time.Time, body []byte) map[string]string {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	message := append([]byte(id+"."+timestamp+"."), body...)
	signatures := make([]string, len(keys))
	for i, k := range keys {
		signatures[i] = k.signature(message)
	}
	return map[string]string{
		"webhook-id":        id,
		"webhook-timestamp": timestamp,
		"webhook-signature": strings.Join(signatures, " "),
	}
}

// keys reads the keys of a secret. Its errors do not hold them.
func (s Secret) keys() ([]key, error) {
	text, set := os.LookupEnv(s.Env)
	if s.File != "" {
		content, err := os.ReadFile(s.File)
		if err != nil {
			return nil, fmt.Errorf("the secret '%s': %w", s.Name, err)
		}
		text = string(content)
	} else if !set {
		return nil, fmt.Errorf("the secret '%s': the environment variable '%s' is not set", s.Name, s.Env)
	}
	texts := strings.Fields(text)
	if len(texts) < 1 || len(texts) > 2 {
		return nil, fmt.Errorf("the secret '%s' has %d keys: want one, or two while it changes", s.Name, len(texts))
	}
	keys := make([]key, len(texts))
	for i, text := range texts {
		var err error
		if keys[i], err = parseKey(text); err != nil {
			return nil, fmt.Errorf("the secret '%s': %w", s.Name, err)
		}
	}
	return keys, nil
}

var errKey = errors.New("want 'whsec_' and 24 to 64 bytes in base64, or 'whsk_' and a private key of Ed25519 of 64 bytes")

func parseKey(text string) (key, error) {
	if encoded, ok := strings.CutPrefix(text, "whsk_"); ok {
		private, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(private) != ed25519.PrivateKeySize {
			return key{}, errKey
		}
		return key{private: private}, nil
	}
	encoded, ok := strings.CutPrefix(text, "whsec_")
	shared, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(shared) < minKey || len(shared) > maxKey {
		return key{}, errKey
	}
	return key{shared: shared}, nil
}
