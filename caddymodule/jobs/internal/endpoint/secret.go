package endpoint

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// secretFile is the file with the secret of signed links, in the folder of the store.
const secretFile = "links.key"

// leastSecret is the least length of a secret in bytes.
const leastSecret = 32

// secrets are those that were read or made, by folder. Links stay valid when the
// configuration changes, so it is a package variable.
var secrets sync.Map

// secretOf returns the secret of a folder. The first use makes it. If the folder does not
// exist, because the store is in memory, so is the secret.
func secretOf(folder string) ([]byte, error) {
	if known, ok := secrets.Load(folder); ok {
		return known.([]byte), nil
	}
	secret, err := readSecret(filepath.Join(folder, secretFile))
	if err != nil {
		return nil, err
	}
	known, _ := secrets.LoadOrStore(folder, secret)
	return known.([]byte), nil
}

// readSecret reads a secret, or makes one. Two processes that make one at the same time have
// the same: that of the first file.
func readSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		if err == nil && len(secret) < leastSecret {
			err = fmt.Errorf("the file has %d bytes, want %d: remove it to make a new secret", len(secret), leastSecret)
		}
		return secret, wrap(path, err)
	}
	secret = make([]byte, leastSecret)
	_, _ = rand.Read(secret) // it never fails
	file, err := os.CreateTemp(filepath.Dir(path), secretFile)
	if errors.Is(err, fs.ErrNotExist) {
		return secret, nil
	}
	if err != nil {
		return nil, wrap(path, err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(secret)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, wrap(path, err)
	}
	if err := os.Link(file.Name(), path); errors.Is(err, fs.ErrExist) {
		return readSecret(path)
	} else if err != nil {
		return nil, wrap(path, err)
	}
	return secret, nil
}

func wrap(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the secret of signed links in %s: %w", path, err)
}
