// Package storekey reads the keys by which stores of jobs are encrypted.
package storekey

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

// Read reads a key from a file or, if that is empty, from an environment variable: 32 bytes
// as they are, in hexadecimal digits or in base64. Its ID is a part of its hash.
func Read(file, variable string) (k bolt.Key, err error) {
	text, name := []byte(os.Getenv(variable)), "variable "+variable
	if file != "" {
		name = "file " + file
		if text, err = os.ReadFile(file); err != nil {
			return k, fmt.Errorf("reading a key of the store of jobs: %w", err)
		}
	}
	secret, ok := decode(text)
	if !ok {
		return k, fmt.Errorf("the key of the store of jobs in the %s is no key: want 32 random bytes, as 'openssl rand -hex 32' prints them", name)
	}
	k.Secret = secret
	sum := sha256.Sum256(append([]byte("id of a key "), secret[:]...))
	k.ID = hex.EncodeToString(sum[:8])
	return k, nil
}

func decode(text []byte) (key [32]byte, ok bool) {
	if len(text) == len(key) {
		return [32]byte(text), true
	}
	trimmed := string(bytes.TrimSpace(text))
	for _, form := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawURLEncoding.DecodeString} {
		if raw, err := form(trimmed); err == nil && len(raw) == len(key) {
			return [32]byte(raw), true
		}
	}
	return key, false
}
