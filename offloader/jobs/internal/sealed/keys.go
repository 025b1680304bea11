// Package sealed encrypts what engines of jobs store: values of a database, and files that
// are read at any offset while they are written. The cipher is XAES-256-GCM
// (https://c2sp.org/XAES-256-GCM): AES-GCM whose random nonces are long enough for any number
// of messages under one key.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// Errors of this package.
var (
	// ErrNoKey: the key with which the data is encrypted is not there.
	ErrNoKey = errors.New("the key of encrypted data is missing")
	// ErrForged: the data was changed, or belongs elsewhere.
	ErrForged = errors.New("encrypted data is damaged")
)

// Key is a key with the name that is stored with the data.
type Key struct {
	ID     string // 1 to 32 bytes
	Secret [32]byte
}

// Keys encrypt with the current key, and decrypt with the older ones too.
type Keys struct {
	current *keyed
	byID    map[string]*keyed
}

// keyed derives the keys of messages.
type keyed struct {
	id    string
	block cipher.Block
	k1    [aes.BlockSize]byte
}

// NewKeys checks the keys, of which the first one is current.
func NewKeys(keys ...Key) (*Keys, error) {
	all := &Keys{byID: map[string]*keyed{}}
	for _, k := range keys {
		if len(k.ID) < 1 || len(k.ID) > maxID {
			return nil, fmt.Errorf("the ID of a key has %d bytes: want 1 to %d", len(k.ID), maxID)
		}
		if all.byID[k.ID] != nil {
			return nil, fmt.Errorf("two keys have the ID '%s'", k.ID)
		}
		block, err := aes.NewCipher(k.Secret[:])
		if err != nil {
			return nil, err
		}
		made := &keyed{id: k.ID, block: block}
		block.Encrypt(made.k1[:], made.k1[:])
		carry := byte(0)
		for i := len(made.k1) - 1; i >= 0; i-- {
			carry, made.k1[i] = made.k1[i]>>7, made.k1[i]<<1|carry
		}
		made.k1[len(made.k1)-1] ^= carry * 0x87
		all.byID[k.ID] = made
		if all.current == nil {
			all.current = made
		}
	}
	if all.current == nil {
		return nil, errors.New("there is no key")
	}
	return all, nil
}

const (
	maxID     = 32
	nonceSize = 24
	gcmNonce  = 12
	overhead  = nonceSize + 16
)

// aead returns the cipher for messages with this nonce, whose end is the nonce of AES-GCM.
func (k *keyed) aead(nonce []byte) cipher.AEAD {
	var key [32]byte
	for half := range 2 {
		block := key[half*aes.BlockSize:][:aes.BlockSize]
		copy(block, []byte{0, byte(half + 1), 'X', 0})
		copy(block[4:], nonce[:gcmNonce])
		for i := range block {
			block[i] ^= k.k1[i]
		}
		k.block.Encrypt(block, block)
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the length is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block has the size of AES
	}
	return aead
}

// seal appends nonce and ciphertext.
func (k *keyed) seal(dst, plain, additional []byte) []byte {
	var nonce [nonceSize]byte
	rand.Read(nonce[:])
	return k.aead(nonce[:]).Seal(append(dst, nonce[:]...), nonce[gcmNonce:], plain, additional)
}

// open appends the plaintext.
func (k *keyed) open(dst, sealed, additional []byte) ([]byte, error) {
	if len(sealed) < overhead {
		return nil, ErrForged
	}
	nonce := sealed[:nonceSize]
	plain, err := k.aead(nonce).Open(dst, nonce[gcmNonce:], sealed[nonceSize:], additional)
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

// Seal appends the encrypted form of plain to dst. The additional bytes are not in it, and
// must be the same to decrypt it.
func (k *Keys) Seal(dst, plain, additional []byte) []byte {
	dst = append(dst, byte(len(k.current.id)))
	dst = append(dst, k.current.id...)
	return k.current.seal(dst, plain, additional)
}

// Open decrypts what Seal has returned. A nil Keys has no key.
func (k *Keys) Open(sealed, additional []byte) ([]byte, error) {
	key, rest, err := k.find(sealed)
	if err != nil {
		return nil, err
	}
	return key.open(nil, rest, additional)
}

// find reads the ID of a key, and returns the key and what follows.
func (k *Keys) find(b []byte) (*keyed, []byte, error) {
	if len(b) == 0 || b[0] == 0 || b[0] > maxID || len(b) < 1+int(b[0]) {
		return nil, nil, ErrForged
	}
	id := string(b[1 : 1+b[0]])
	if k == nil || k.byID[id] == nil {
		return nil, nil, fmt.Errorf("%w: '%s'", ErrNoKey, id)
	}
	return k.byID[id], b[1+b[0]:], nil
}
